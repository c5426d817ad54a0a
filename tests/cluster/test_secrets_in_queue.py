"""Secrets of every place and form reach neither the database nor what is derived from it; workers have real values."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from support import secret_samples as secrets
from support.cluster import at_work, state, states, wait_for
from support.openai_server import OpenAIServer, error

from magentic_kit import ConfigError, TeamFactory
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.queued import derive
from magentic_kit.text import MASK

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**secrets.ENVIRONMENT, secrets.LITERAL_VARIABLE: secrets.LITERAL}.items():
        monkeypatch.setenv(name, value)


def rows(database: Database) -> bytes:
    """All that the database has, as text."""
    inspector, found = sa.inspect(database.engine), []
    with database.engine.connect() as connection:
        for schema in inspector.get_schema_names():
            if schema != "information_schema":
                for table in inspector.get_table_names(schema):
                    found += connection.execute(sa.text(f'SELECT t::text FROM "{schema}"."{table}" t')).scalars()
    return "\n".join(found).encode()


def test_no_secret_is_queued_and_a_run_that_failed_goes_on_with_real_values(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fault, is_down = error(400, f"I do not like {secrets.everything()}"), [True]
    brain = secrets.brain(secrets.everything()).on("manager", "answer", None, lambda _: fault if is_down[0] else None)
    with OpenAIServer(brain) as server:
        file = secrets.write_team(tmp_path, server.base_url, task="Look: ${MY_PASSWORD}, {{$door_key}}")
        database.submit(TeamFactory.from_yaml(file), id="one")
        with at_work(database) as told:
            wait_for(lambda: states(database) == {"failed"})
            is_down[0] = False
            asked = len(server.requests)
            database.answer("one", "retry")
            wait_for(lambda: state(database, "one") == "satisfied")
        assert [request.purpose for request in server.requests[asked:]] == ["answer"]
    _, run_dir = derive(database, "one", tmp_path / "derived", ["md", "html", "json"])
    assert [*secrets.real_values(tmp_path)] == [True]
    printed = "\n".join([*told, *capfd.readouterr()]).encode()
    stored = rows(database)
    assert MASK.encode() in stored and b"model_call_finished" in stored, "else nothing was looked at"
    assert secrets.leaks({"database": stored, "printed": printed, **secrets.files(run_dir)}) == []


@pytest.mark.parametrize(
    "given",
    [{"task": "Use correct horse battery staple."}, {"inputs": {"door_key": "k 77 k"}}, {"attach": ["note.txt"]}],
)
def test_a_run_whose_task_or_input_has_a_secret_is_not_queued(
    given: dict[str, object], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("note.txt").write_text("It opens by correct horse battery staple.")
    file = secrets.write_team(tmp_path, "http://127.0.0.1:9/v1", task="Look.")
    with pytest.raises(ConfigError, match=r"^(task|inputs|attach): it has a secret, which is not stored"):
        database.submit(TeamFactory.from_yaml(file), **given)  # type: ignore[arg-type]
    assert states(database) == set()
