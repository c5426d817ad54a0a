"""Where secrets stand: by names, by places in a team file, in parts of values; and what is stored of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.secrets import environment_secrets, names_secret, secret_spans, values_of, worth_masking

AGENTS = [{"name": "Solo", "description": "d"}]


def load(team: dict[str, Any], env: Mapping[str, str] = {}) -> Team:
    return load_team({"name": "t", "agents": AGENTS, **team}, env=env, known_services=["default"])


@pytest.mark.parametrize(
    "name",
    [
        *("OPENAI_API_KEY", "DOOR_KEY", "key", "MY_TOKEN", "TOKEN_LIMIT", "DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD"),
        *("apiKey", "accessToken", "clientSecret", "X-Api-Key", "Authorization", "credentials", "SENTRY_DSN", "dsn"),
        *("auth", "GITHUB_PAT", "private_key", "connectionString", "passphrase", "DOCKERHUBTOKEN", "DB_PASS", "Cookie"),
    ],
)
def test_a_name_of_a_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "TOKENIZERS_PARALLELISM", "api_key_env", "PASSWORD_FILE", "primary_key", "sort_key", "AUTHOR"),
        *("monkey", "keyboard", "path", "SSH_AUTH_SOCK", "compass", "", "name", "description", "prompt_cache_key"),
    ],
)
def test_a_name_of_something_else(name: str) -> None:
    assert not names_secret(name)


def secrets_in(**team: Any) -> set[str]:
    """What of a team's own text is a secret."""
    return load(team).source.found.secrets


def plugin(**given: Any) -> dict[str, Any]:
    return {"plugins": {"it": {"type": "python", "target": "a:B", **given}}}


def openapi(headers: dict[str, str]) -> dict[str, Any]:
    return {"plugins": {"it": {"type": "openapi", "spec": "http://a/b", "headers": headers}}}


def mcp(**given: Any) -> dict[str, Any]:
    return {"plugins": {"it": {"type": "mcp", "transport": "stdio", "command": "c", **given}}}


def service(**given: Any) -> dict[str, Any]:
    return {"services": {"default": {"provider": "openai", "model": "m", **given}}}


PLACES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a key in arguments": (plugin(args={"password": "pw-1", "user": "robert"}), {"pw-1"}),
    "a key deep inside": (plugin(args={"db": {"credentials": {"user": "robert", "pin": 481516}}}), {"481516"}),
    "a list below a key": (plugin(args={"tokens_of": 1, "secrets": ["first1", "second2"]}), {"first1", "second2"}),
    "a data source": (plugin(args={"dsn": "https://abc@sentry.example.org/1"}), {"https://abc@sentry.example.org/1"}),
    "headers": (
        {
            "plugins": {
                "it": {"type": "openapi", "spec": "http://a/b", "headers": {"X-Door": "door 7", "Accept": "text"}}
            }
        },
        {"door 7"},
    ),
    "a header's credential": (
        openapi({"Authorization": "Bearer tok-1"}),
        {"tok-1"},
    ),
    "basic authentication": (
        openapi({"Any": "Basic dTpwYXNzdzByZA=="}),
        {"dTpwYXNzdzByZA==", "passw0rd"},
    ),
    "headers of a model's calls": (service(options={"extra_headers": {"X-Gate": "gate 55"}}), {"gate 55"}),
    "a server's environment": (mcp(env={"ACCESS": "acc 99", "LOG_LEVEL": "debug", "PORT": 8080}), {"acc 99"}),
    "options of a command": (
        mcp(args=["--api-key", "k-123456", "--token=t-9999", "--port=80"]),
        {"k-123456", "t-9999"},
    ),
    "an input": ({"inputs": {"token": {"default": "in-77", "description": "The token."}}}, {"in-77"}),
    "an input in short": ({"inputs": {"door_key": "in-78"}}, {"in-78"}),
    "a URL's password": (
        {"plugins": {"it": {"type": "sql", "url": "postgresql://app:p%40ss1@db/x"}}},
        {"p%40ss1", "p@ss1", "app:p@ss1"},
    ),
    "a URL's user who is a token": (service(base_url="https://0123456789abcdef@host/v1"), {"0123456789abcdef"}),
    "a URL's query": (
        {"plugins": {"it": {"type": "mcp", "transport": "http", "url": "https://h/mcp?a=1&api_key=q-5555"}}},
        {"q-5555"},
    ),
    "a connection string": (plugin(args={"db": "Server=s;User=u;Password=cs-66;"}), {"cs-66"}),
    "the way to sign in": (
        {"services": {"default": {"provider": "azure_openai", "model": "m", "auth": "entra", "api_key_env": "DOOR"}}},
        set(),
    ),
    "a parameter of that name": (
        service(options={"response_format": {"properties": {"password": {"type": "string"}}}, "max_tokens": 100}),
        set(),
    ),
    "words that are secret to nobody": (plugin(args={"password": "postgres", "token": "abc", "secret": True}), set()),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_of_secrets(place: str) -> None:
    team, expected = PLACES[place]
    assert secrets_in(**team) == expected


def test_secrets_of_an_environment_are_known_by_name_and_by_what_they_are() -> None:
    env = {
        "DATABASE_URL": "postgresql://app:d-66!x@db/x",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=t-77777,content-type=text",
        "DB_PASSWORD": "pw-1",
        "SOME_KEY": "short",
        "OTHER_KEY": "long-enough",
        "DOOR": "opened",
        "HOME": "/home/robert",
        "PWD": "/home/robert/work",
    }
    found = set(environment_secrets(env, keys=["DOOR"]))
    assert found == {"d-66!x", "app:d-66!x", "t-77777", "pw-1", "long-enough", "opened"}


@pytest.mark.parametrize(("value", "worth"), [("abc", 0), ("abcd", 1), ("2025", 0), ("481516", 1), ("Test", 0)])
def test_what_is_worth_masking(value: str, worth: int) -> None:
    assert worth_masking(value) == bool(worth)


def test_a_long_text_does_not_make_the_search_slow() -> None:
    for text in ("a" * 200_000 + "=", "a://" * 50_000, "x=" * 100_000, "://a:" * 40_000 + "@"):
        assert [*values_of(text, secret_spans(("task",), text))] == []


def stored(team: dict[str, Any], env: dict[str, str], find: Any = None) -> tuple[dict[str, Any], list[str]]:
    text, problems = load(team, env).source.stored(find)
    return dict(yaml.safe_load(text)), [str(problem) for problem in problems]


def test_a_reference_stays_one_where_a_secret_stands_and_is_filled_in_elsewhere() -> None:
    url = "postgresql://${DB_USER}:${WORD}@${HOST}/${DB}"
    env = {"DB_USER": "app", "WORD": "pw$1", "HOST": "db", "DB": "x"}
    data, missing = stored({"plugins": {"it": {"type": "sql", "url": url}}}, env)
    assert (data["plugins"]["it"]["url"], missing) == ("postgresql://app:${WORD}@db/x", [])


def test_a_secret_beside_others_in_a_text_gets_a_variable_of_its_own() -> None:
    url = "postgresql://app:pw-123@db/x?sslpassword=pw-456"
    plugins = {"db": {"type": "sql", "url": url}, **plugin(args={"token": "${T:-def-1}"})["plugins"]}
    data, missing = stored({"plugins": plugins}, {})
    name = "MAGENTIC_KIT_SECRET_PLUGINS_DB_URL"
    assert data["plugins"]["db"]["url"] == f"postgresql://app:${{{name}}}@db/x?sslpassword=${{{name}_2}}"
    assert data["plugins"]["it"]["args"]["token"] == "${T}", "a default that is a secret is not stored either"
    assert [problem.partition("set ")[2].partition(" in")[0] for problem in missing] == [name, f"{name}_2", "T"]


def test_secrets_that_are_seen_in_other_texts_are_not_stored_and_do_not_change_the_hash() -> None:
    def find(text: str) -> list[tuple[int, int]]:
        at = text.find("XXXX")
        return [(at, at + 4)] if at >= 0 else []

    team: dict[str, Any] = {"task": "Use XXXX and ${NOTE}.", "description": "$${a}"}
    loaded = load(team, {"NOTE": "n"})
    text, problems = loaded.source.stored(find)
    assert yaml.safe_load(text)["task"] == "Use ${MAGENTIC_KIT_SECRET_TASK} and n." and len(problems) == 1
    again = load(yaml.safe_load(text), {"MAGENTIC_KIT_SECRET_TASK": "XXXX"})
    assert again.config == loaded.config and again.config_hash == loaded.config_hash
    assert again.source.stored(find)[0] == text
    hidden_in_variable = load({**team, "task": "${NOTE}"}, {"NOTE": "XXXX"})
    assert yaml.safe_load(hidden_in_variable.source.stored(find)[0])["task"] == "${NOTE}"


def test_a_literal_secret_counts_by_its_place_in_the_hash() -> None:
    hashes = {load(plugin(args={"token": it})).config_hash
              for it in ("tok-1", "tok-2", "tok-3")}  # fmt: skip
    assert len(hashes) == 1


def test_a_variable_that_is_missing_does_not_matter_where_the_value_is_set(tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    file.write_text(
        "name: t\ntask: ${NOT_SET}\ninputs: {a: '${NOR_THIS}'}\nagents: [{name: A, description: d}]\n"
        "services: {default: {provider: openai, model: m}}\n"
    )
    with pytest.raises(ConfigError) as raised:
        load_team(file, env={}, overrides={"task": "given"})
    assert [problem.message for problem in raised.value.problems] == [
        "environment variable NOR_THIS is not set; set it or write ${NOR_THIS:-default}"
    ]
    assert load_team(file, env={}, overrides={"task": "given", "inputs": {}}).config.task == "given"
