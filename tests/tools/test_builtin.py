"""What the built-in plugins let an agent do, and that nothing it writes gets it any further."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import KernelPlugin
from support.pictures import picture
from support.waits import processor_time_below

from magentic_kit.errors import ConfigError
from magentic_kit.tools.builtin import fetch, files, math, sql

SECRET = "the-secret"


def functions(plugin: object) -> set[str]:
    return set(KernelPlugin.from_object("plugin", plugin).functions)


@pytest.mark.parametrize(
    ("plugin", "more"),
    [
        (files.FilesPlugin("."), set()),
        (files.FilesPlugin(".", write=True), {"write"}),
        (sql.SqlPlugin("sqlite:///x.db"), set()),
        (sql.SqlPlugin("sqlite:///x.db", write=True), {"execute"}),
        (fetch.FetchPlugin([]), set()),
        (math.MathPlugin(), set()),
    ],
)
def test_a_function_that_writes_exists_only_where_it_is_allowed(plugin: Any, more: set[str]) -> None:
    assert functions(plugin) == {*plugin.REPEATABLE, *more}


# SQL


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "sales.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE sale (amount INTEGER, region INTEGER REFERENCES region (id));"
            "INSERT INTO region VALUES (1, 'North|East'), (2, '50%: a'), (3, NULL);"
            "CREATE VIEW names AS SELECT name FROM region"
        )
    connection.close()
    return path


WRITES = {
    "insert": "INSERT INTO region VALUES (9, 'x')",
    "insert returning": "INSERT INTO region VALUES (9, 'x') RETURNING id",
    "update": "UPDATE region SET name = ''",
    "delete": "DELETE FROM region",
    "with delete": "WITH old AS (SELECT 1) DELETE FROM region",
    "drop": "DROP TABLE region",
    "create": "CREATE TABLE other (id)",
    "create temp": "CREATE TEMP TABLE other (id)",
    "alter": "ALTER TABLE region ADD COLUMN x",
    "attach": "ATTACH '{folder}/other.db' AS other",
    "attach uri": "ATTACH 'file:{folder}/other.db?mode=rwc' AS other",
    "attach to read": "ATTACH '{folder}/sales.db' AS other",
    "detach": "DETACH main",
    "vacuum": "VACUUM",
    "vacuum into": "VACUUM INTO '{folder}/copy.db'",
    "writable schema": "PRAGMA writable_schema = 1",
    "query only off": "PRAGMA query_only = 0",
    "journal mode": "PRAGMA journal_mode = WAL",
    "pragma function": "SELECT * FROM pragma_user_version",
    "two statements": "SELECT 1; DROP TABLE region",
    "hidden second statement": "SELECT 1; -- \n DROP TABLE region",
    "analyze": "ANALYZE",
    "extension": "SELECT load_extension('x')",
    "replace": "/* SELECT */ REPLACE INTO region VALUES (1, 'x')",
}


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_a_query_cannot_change_the_database_or_reach_another_file(database: Path, statement: str) -> None:
    before = picture(database.parent)
    with pytest.raises(ValueError, match=r"^the database answered \(it is open for reading only\): \w.*\Z"):
        sql.SqlPlugin(f"sqlite:///{database}").query(statement.format(folder=database.parent))
    assert picture(database.parent) == before


def test_where_writing_is_allowed_it_is_for_this_one_file(database: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{database}", write=True)
    assert plugin.execute("UPDATE region SET name = 'South' WHERE id > 1") == "2 rows changed"
    assert plugin.execute("CREATE TABLE other (id)") == "done"
    assert "| South |" in plugin.query("SELECT name FROM region")
    with pytest.raises(ValueError, match="reading only"):
        plugin.query(WRITES["delete"])
    for name in ("attach", "attach uri", "vacuum into", "writable schema", "two statements"):
        with pytest.raises(ValueError, match=r"^the database answered: "):
            plugin.execute(WRITES[name].format(folder=database.parent))
    assert [path.name for path in database.parent.iterdir()] == ["sales.db"]


def test_rows_come_as_a_table_and_say_when_there_are_more(database: Path) -> None:
    query = sql.SqlPlugin(f"sqlite:///{database}", max_rows=2).query
    assert query("SELECT * FROM region") == (
        "| id | name |\n| --- | --- |\n| 1 | North\\|East |\n| 2 | 50%: a |\n\n[only the first 2 rows]"
    )
    assert query("SELECT id FROM region WHERE name LIKE '50%: _'") == "| id |\n| --- |\n| 2 |"
    assert query("SELECT id FROM region WHERE name = ':x'") == "| id |\n| --- |\n\n[no rows]"


def test_a_query_may_use_full_text_tables_and_json(database: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{database}", write=True)
    plugin.execute("CREATE VIRTUAL TABLE note USING fts5 (body)")
    plugin.execute("INSERT INTO note VALUES ('North sells most')")
    assert plugin.query("SELECT body FROM note WHERE note MATCH 'north'").endswith("\n| North sells most |")
    assert plugin.query("SELECT value FROM json_each('[7]')").endswith("\n| 7 |")


def test_the_schema_names_tables_views_and_foreign_keys(database: Path) -> None:
    assert sql.SqlPlugin(f"sqlite:///{database}").schema() == (
        "region(id INTEGER, name TEXT)\nsale(amount INTEGER, region INTEGER, (region) -> region(id))\nnames(name TEXT)"
    )


def test_a_query_without_end_is_stopped(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MAX_SECONDS", 0.2)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ValueError, match="interrupted"):
        sql.SqlPlugin(f"sqlite:///{database}").query(endless)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{tmp_path}/none.db?mode=rwc")
    with pytest.raises(ValueError, match="unable to open database file"):
        plugin.query("SELECT 1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sales.db", "is no database URL"),
        ("sqlite://", "needs a database file"),
        ("sqlite:///:memory:", "needs a database file"),
        ("oracle://a:secret@b/c", r"knows sqlite\+pysqlite, postgresql\+psycopg, .*; not oracle$"),
        ("postgresql+psycopg2://a:secret@b/c", r"not postgresql\+psycopg2$"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        sql.SqlPlugin(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("package", "url"), [("sqlalchemy", "sqlite:///sales.db"), ("psycopg", "postgresql://a:secret@b/c")]
)
def test_a_missing_package_is_named_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, package: str, url: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}: pip install 'magentic-kit\[sql\]' {package}$"):
        sql.SqlPlugin(url)


# Math


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("(232.8 - 167.6) / 167.6 * 100", "38.9021479713604"),
        ("7 // 2 + 7 % 2 - -3", "7"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("2 ** -1", "0.5"),
        ("round(2.567, 1) + round(2.5)", "4.6"),
        ("round(1234, -2)", "1200"),
        ("sqrt(2) * sin(pi / 2) + log(e) + log(8, 2)", "5.41421356237309"),
        ("sum([1, 2, 3]) + sum(1, 2) + max(1, 5) + min((4, 2)) + abs(-1)", "17"),
    ],
)
def test_a_formula_has_its_value(expression: str, value: str) -> None:
    assert math.MathPlugin().calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9**9", "too large"),
        ("2.0**99999", "too large"),
        ("exp(1000)", "too large"),
        ("1e999", "too large"),
        ("round(5, -999999999)", "too large"),
        ("(10**600) * (10**600) * (10**600)", "too large"),
        ("10**1000 / 3.0 * 10", "too large"),
        ("1 / 0", "division by zero"),
        ("(-8) ** 0.5", "not a real number"),
        ("sqrt(-1)", "math domain error|nonnegative"),
        ("__import__('os').system('id')", "not part of a formula"),
        ("().__class__", "not part of a formula"),
        ("open('/etc/passwd')", "not part of a formula"),
        ("[x for x in (1, 2)]", "not part of a formula"),
        ("sum([1] * 10**9)", "not part of a formula"),
        ("'a' * 9", "not part of a formula"),
        ("True + 1", "not part of a formula"),
        ("1 < 2", "not part of a formula"),
        ("2 ^ 3", r"a power is written \*\*"),
        ("1j * 1j", "not part of a formula"),
        ("round(1, ndigits=2)", "not part of a formula"),
        ("sqrt()", "no formula"),
        ("2 +", "no formula"),
        ("", "no formula"),
        ("-" * 999 + "1", "no formula"),
        ("(" * 500 + "1" + ")" * 499, "no formula"),
        ("1+" * 5_000 + "1", "longer than 1,000 characters"),
    ],
)
def test_what_is_no_formula_or_too_large_is_refused_at_once(expression: str, reason: str) -> None:
    with processor_time_below(1), pytest.raises((ValueError, ArithmeticError), match=reason):
        math.MathPlugin().calculate(expression)
