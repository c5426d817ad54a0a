"""A team with a secret in every place that takes one, and a search for them in what was written and sent."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

from support.openai_server import Reply, TeamBrain, ToolCall

ENVIRONMENT = {
    "DOOR": "open-sesame-1",  # named by api_key_env
    "SERVICE_PW": "svc%2Bpw%219",
    "DATABASE_URL": "postgresql://app:db%40pw!77@127.0.0.1:9/sales",
    "SHORT": "q7x!",  # four characters, in a place of secrets
    "CRM": "crm header 31",
    "BASIC": base64.b64encode(b"robot:basic-pw-5").decode(),
    "FLAG": "flag-secret-8",
    "MCP_ENV": 'mcp "env" 4',
    "CODE": "code 90210 x",
    "MY_PASSWORD": "correct horse battery staple",
    "SOME_API_KEY": "some-key-no-shape",
}
LITERAL = "lit eral 77"
SECRETS = [
    *(value for name, value in ENVIRONMENT.items() if name != "DATABASE_URL"),
    *("db%40pw!77", "db@pw!77", "svc+pw!9", "basic-pw-5", LITERAL),
]
BY_LOOKS = ["sk-looks-like-a-key-1234", "AKIAIOSFODNN7EXAMPLE"]
"""Keys that nobody has said are secret: in base64 they look like nothing."""

LITERAL_VARIABLE = "MAGENTIC_KIT_SECRET_PLUGINS_BOX_ARGS_PASSWORD"

BOX = '''
import base64, hashlib, json, os, urllib.parse
from pathlib import Path
from semantic_kernel.functions import kernel_function

class Box:
    """Holds secrets, and lets them out."""

    def __init__(self, password, dsn, token, witness):
        self.held = [password, dsn, token, os.environ["DOOR"]]
        self.witness = Path(witness)

    @kernel_function(description="Looks.")
    def look(self, code: str = "") -> str:
        """Writes down, as a hash, which secrets it has; returns them in all ways."""
        seen = hashlib.sha256(json.dumps(self.held).encode()).hexdigest()
        with self.witness.open("a") as file:
            print(seen, file=file)
        return "\\n".join(self.held + [json.dumps(self.held), *map(urllib.parse.quote, self.held)])

    @kernel_function(description="Fails.")
    def fail(self) -> str:
        raise RuntimeError(f"could not connect to {self.held[1]} with {self.held!r}")
'''


def write_team(folder: Path, base_url: str, **changes: Any) -> Path:
    """Writes the team and its plugin into the folder."""
    (folder / "box.py").write_text(BOX)
    data = {
        "name": "vault",
        "services": {
            "default": {
                "provider": "openai",
                "model": "m",
                "base_url": base_url,
                "api_key_env": "DOOR",
            },
            "spare": {"provider": "openai", "model": "m", "base_url": "http://svc:${SERVICE_PW}@127.0.0.1:9/v1"},
        },
        "plugins": {
            "box": {
                "type": "python",
                "target": "box:Box",
                "args": {
                    "password": LITERAL,
                    "dsn": "${DATABASE_URL}",
                    "token": "${SHORT}",
                    "witness": str(folder / "witness"),
                },
            },
            "crm": {
                "type": "openapi",
                "spec": "http://127.0.0.1:9/openapi.json",
                "headers": {"Authorization": "Basic ${BASIC}", "X-Door": "${CRM}", "Accept": "text/html"},
            },
            "web": {
                "type": "mcp",
                "transport": "stdio",
                "command": "never-started",
                "args": ["--token", "${FLAG}"],
                "env": {"ACCESS": "${MCP_ENV}", "LOG_LEVEL": "debug"},
            },
        },
        "inputs": {"door_key": {"default": "${CODE}"}},
        "agents": [
            {
                "name": "Solo",
                "description": "Does it all.",
                "instructions": "The code is {{$door_key}}.",
                "tools": [{"id": "box.*"}],
            }
        ],
    }
    path = folder / "team.yaml"
    path.write_text(json.dumps(data | changes))
    return path


def forms(secret: str) -> set[str]:
    """The secret as it may be written down."""
    plain = secret.encode()
    return {
        *(secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")),
        *(base64.b64encode(plain).decode().rstrip("="), base64.b64encode(b"user:" + plain).decode().rstrip("=")),
    }


def everything() -> str:
    """A text that has each secret in each form."""
    return " and ".join([*BY_LOOKS, *(form for secret in SECRETS for form in sorted(forms(secret)))])


def brain(text: str) -> TeamBrain:
    """A model that looks, fails, and says the text wherever it can."""
    calls = [ToolCall("box-look", {"code": text}), ToolCall("box-fail")]
    turns = [Reply(f"I look: {text}", tool_calls=calls), f"I saw {text}"]
    return TeamBrain(
        rounds=[("Solo", text)], agents={"Solo": turns}, facts=text, plan=text, answer=f"The answer: {text}"
    )


def leaks(texts: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Where, and which secret, in which form."""
    known = {form for secret in SECRETS for form in forms(secret)}.union(BY_LOOKS)
    return sorted((where, form) for where, data in texts.items() for form in known if form.encode() in data)


def files(folder: Path) -> dict[str, bytes]:
    """All files below the folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def real_values(folder: Path) -> Iterable[bool]:
    """Whether the plugin had the real secrets, each time that it looked."""
    held = [LITERAL, ENVIRONMENT["DATABASE_URL"], ENVIRONMENT["SHORT"], ENVIRONMENT["DOOR"]]
    expected = hashlib.sha256(json.dumps(held).encode()).hexdigest()
    return [line == expected for line in (folder / "witness").read_text().split()]


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP receiver on loopback: its address and the bodies that it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()
