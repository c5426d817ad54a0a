"""What holds for every test: no network but loopback, and no provider's settings from the environment."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, settings
from support import certificates, forked

# Nothing by the wall clock, and the same examples in each run: what fails in CI fails again at a desk.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

for number in (signal.SIGHUP, signal.SIGINT):  # ignored under `nohup` and in the background, and by all processes then
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

PROVIDERS = (
    "OPENAI_",
    "AZURE_",
    "ANTHROPIC_",
    "GOOGLE_",
    "MISTRAL",
    "NVIDIA_",
    "AWS_",
    "OLLAMA_",
    "BEDROCK_",
)


class NetworkBlocked(RuntimeError):
    """A test tried to leave the machine. Not an `OSError`, so that nobody takes it for a bad connection."""


def _check(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        allowed = ipaddress.ip_address(str(name).partition("%")[0]).is_loopback
    except ValueError:
        allowed = False
    if not allowed:
        raise NetworkBlocked(f"tests may reach loopback only, not {name!r}")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a process of its own would not have from the tests before it."""
    yield
    gc.unfreeze()  # commands freeze what they have imported, and hypothesis asks the collector who holds what
    if sse := sys.modules.get("sse_starlette.sse"):
        sse.AppStatus.should_exit = False  # it takes the end of any server in a process for the end of the process


@pytest.fixture(scope="session", autouse=True)
def network_off() -> Iterator[None]:
    """Every connection and name look-up of this process that is not loopback fails at once."""

    def by_address(original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _check(address[0])
            return original(self, address)

        return guarded

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check(host)
        return getaddrinfo(host, *args, **kwargs)

    getaddrinfo = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, by_address(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trustme.CA]:
    """Who signs certificates that are trusted here."""
    with certificates.trusted(tmp_path_factory.mktemp("authority")) as it:
        yield it


@pytest.fixture(scope="session", autouse=True)
def processes_are_forked(authority: trustme.CA) -> Iterator[None]:
    """Commands run in processes that have imported Semantic Kernel already."""
    with forked.installed():
        yield


@pytest.fixture(autouse=True)
def fresh_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests marked `fresh` start processes that import what they need themselves."""
    if request.node.get_closest_marker("fresh") is None:
        yield
        return
    with forked.fresh():
        yield


@pytest.fixture(autouse=True)
def no_provider_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, endpoint or model name of this machine's user reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith(PROVIDERS):
            monkeypatch.delenv(name)
