"""MCP servers and OpenAPI services: started once, called, lost in every way, and gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio
from aiohttp import web
from mcp import ClientSession, stdio_client
from mcp.client.stdio import StdioServerParameters
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions import KernelArguments
from support.ports import free_port, listens
from support.waits import HANG, no_wait_of, reached, until

from magentic_kit.team.plugins import MCPHttpPlugin, MCPStdioPlugin, OpenAPIPlugin
from magentic_kit.tools.mcp import PluginServers

SCRIPT = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
MARK = uuid.uuid4().hex


def stdio(fault: str = "", **options: Any) -> MCPStdioPlugin:
    args = (SCRIPT, "stdio", "0", fault, MARK)
    return MCPStdioPlugin(**{"type": "mcp", "transport": "stdio", "command": sys.executable, "args": args} | options)


@pytest.fixture
def over_http() -> Iterator[Callable[[str], tuple[MCPHttpPlugin, subprocess.Popen[bytes]]]]:
    """Starts a real MCP server on a port of loopback: its config and its process."""
    processes = []

    def start(transport: str) -> tuple[MCPHttpPlugin, subprocess.Popen[bytes]]:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, SCRIPT, transport, str(port), "", "http"], stderr=subprocess.DEVNULL
        )
        processes.append(process)
        path = "mcp" if transport == "http" else "sse"
        until(lambda: listens(port))
        url, headers = f"http://127.0.0.1:{port}/{path}", {"X-Token": "secret"}
        return MCPHttpPlugin(type="mcp", transport=transport, url=url, headers=headers), process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No test leaves a process behind that a server is or has started."""
    yield
    until(lambda: children() == [])  # a killed process takes its time to go


def children() -> list[str]:
    lines = subprocess.run(
        ["ps", "-axww", "-o", "stat,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if MARK in line and not line.startswith("Z")]


async def call(servers: PluginServers, function: str, *, seconds: float = HANG, **arguments: Any) -> str:
    plugin, _, name = function.partition(".")
    with anyio.fail_after(seconds):
        it = servers.plugins[plugin].functions[name]
        result = await it.invoke(Kernel(), KernelArguments(**arguments))
    return str(result.value if result else None)


def wire(servers: PluginServers, function: str) -> dict[str, Any]:
    plugin, _, name = function.partition(".")
    it: dict[str, Any] = kernel_function_metadata_to_function_call_format(
        servers.plugins[plugin].functions[name].metadata
    )["function"]
    return it


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens servers and closes them after the test; no task is left then."""
    before, all_servers = asyncio.all_tasks(), []

    async def start(**configs: Any) -> PluginServers:
        servers = PluginServers(configs)
        all_servers.append(servers)
        await servers.open()
        return servers

    yield start
    for servers in all_servers:
        await servers.close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert [task for task in left if "aiohttp" not in repr(task)] == []  # the service of the test ends after it


# -- MCP


async def test_servers_over_stdio_http_and_sse_run_together(opened, over_http, capfd):
    http, _ = over_http("http")
    sse, _ = over_http("sse")
    servers = await opened(one=stdio(), two=stdio(env={"WORD": "hello"}), http=http, sse=sse)
    assert servers.failures == {}
    assert list(servers.plugins) == ["one", "two", "http", "sse"]
    for name in servers.plugins:
        assert await call(servers, f"{name}.add", a=1) == "3"
    assert await call(servers, "two.variable", name="WORD") == "hello"
    assert await call(servers, "one.variable", name="WORD") == "unset"
    assert await call(servers, "http.header") == await call(servers, "sse.header") == "secret"
    assert len(children()) == 2
    await servers.close()
    await servers.close()
    until(lambda: children() == [])
    assert capfd.readouterr() == ("", "")


async def test_schemas_reach_the_model_unchanged(opened):
    servers = await opened(it=stdio(), pages=stdio("pages"))
    parameters = StdioServerParameters(command=sys.executable, args=[SCRIPT, "stdio", "0", "", MARK])
    with open(os.devnull, "w") as devnull:
        async with stdio_client(parameters, errlog=devnull) as streams, ClientSession(*streams) as session:
            await session.initialize()
            tools = {tool.name.replace(".", "-"): tool for tool in (await session.list_tools()).tools}
    assert sorted(servers.plugins["it"].functions) == sorted(tools)
    for name, tool in tools.items():
        sent, schema = wire(servers, f"it.{name}"), tool.inputSchema
        assert sent["description"] == (tool.description or "")
        assert sent["parameters"]["required"] == schema.get("required", [])
        expected = schema["properties"]
        if name == "enrol":  # the types that it refers to stand where it refers to them; recursion ends open
            person, address = (schema["$defs"][key] for key in ("Person", "Address"))
            friends = person["properties"]["friends"] | {"items": {}}
            expected["person"] = person | {"properties": person["properties"] | {"home": address, "friends": friends}}
        assert sent["parameters"]["properties"] == expected
    assert len(servers.plugins["pages"].functions) == 25
    assert wire(servers, "pages.t24")["parameters"]["properties"] == {"filter.name": {"type": "string"}}


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        ("restart", {"service": "db", "kernel": "6.1", "arguments": ["-f"]}, "db 6.1 ['-f']"),
        ("enrol", {"person": {"name": "Al", "home": {"city": "Rome"}}, "level": "gold"}, "Al of Rome: gold []"),
        ("add", {"a": 1, "input_of_the_run": 5}, "3"),
        ("close-door", {}, "closed"),
        ("session", {}, "mine"),
        ("big", {"size": 5_000_000}, "x" * 5_000_000),
        ("picture", {}, 'a dot\n{"type":"image","mimeType":"image/png"}'),
    ],
    ids=lambda it: it if isinstance(it, str) and len(it) < 20 else "",
)
async def test_arguments_and_results_pass_as_they_are(opened, function, arguments, said):
    assert await call(await opened(it=stdio()), f"it.{function}", **arguments) == said


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (stdio(command="nowhere"), "; it wrote: .*nowhere: not found"),
        (stdio("exits"), "; it wrote: the database is not there"),
        (stdio("garbage", start_timeout=2), "no answer within 2 s"),
        (stdio(cwd=Path("/nowhere")), "FileNotFoundError: .*/nowhere"),
        (
            MCPHttpPlugin(type="mcp", transport="http", url="http://127.0.0.1:9/mcp"),
            "ConnectError: All connection attempts failed",
        ),
        (
            MCPHttpPlugin(type="mcp", transport="sse", url="http://127.0.0.1:9/sse"),
            "ConnectError: All connection attempts failed",
        ),
        (
            OpenAPIPlugin(type="openapi", spec="/nowhere.yaml"),
            "FileNotFoundError: .*/nowhere.yaml",
        ),
        (OpenAPIPlugin(type="openapi", spec=__file__), "(Parser|Scanner)Error: "),
    ],
    ids=["missing", "exits", "garbage", "no folder", "no http", "no sse", "no document", "no YAML"],
)
async def test_a_server_that_does_not_start_is_one_line_and_harms_no_other(opened, config, reason):
    servers = await opened(bad=config, good=stdio())
    assert list(servers.plugins) == ["good"]
    assert re.search(reason, servers.failures["bad"])
    assert await call(servers, "good.add", a=1) == "3"


@pytest.mark.parametrize("fault", ["banner", "bytes"])
async def test_a_server_that_also_writes_other_things_works(opened, fault):
    assert await call(await opened(it=stdio(fault)), "it.add", a=1) == "3"


async def test_a_tool_that_fails_raises_what_it_says(opened):
    with pytest.raises(FunctionExecutionException, match="Error executing tool fail: no such thing"):
        await call(await opened(it=stdio()), "it.fail")


async def test_a_server_killed_in_a_call_ends_that_call_and_no_other_server(opened):
    servers = await opened(it=stdio(), other=stdio())
    gone = "the server of plugin 'it' is gone: it closed the connection; it wrote: .*about to die"
    with no_wait_of(2):
        with pytest.raises(FunctionExecutionException, match=gone):
            await call(servers, "it.die")
        with pytest.raises(FunctionExecutionException, match=gone):
            await call(servers, "it.add", a=1)
    assert await call(servers, "other.add", a=1) == "3"


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_lost_http_server_ends_its_calls_in_their_time_and_no_other_server(opened, over_http, transport):
    config, process = over_http(transport)
    servers = await opened(first=stdio(), it=config, last=stdio())
    hanging = asyncio.create_task(call(servers, "it.hang", seconds=3))
    await asyncio.sleep(0)
    assert await call(servers, "it.add", a=1) == "3"
    process.kill()
    with pytest.raises((TimeoutError, FunctionExecutionException)):
        await hanging
    with pytest.raises(FunctionExecutionException, match="the server of plugin 'it' is gone"):
        await call(servers, "it.add", a=1)
    for name in ("first", "last"):
        assert await call(servers, f"{name}.add", a=1) == "3"


async def test_a_cancelled_call_leaves_its_server_usable(opened, over_http):
    http, _ = over_http("http")
    servers = await opened(one=stdio(), http=http)
    for name in servers.plugins:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await call(servers, f"{name}.hang", seconds=0.2)
        assert await call(servers, f"{name}.add", a=1) == "3"


async def test_closing_ends_the_calls_under_way(opened):
    servers = await opened(it=stdio())
    hanging = asyncio.create_task(call(servers, "it.hang", seconds=60))
    assert await call(servers, "it.add", a=1) == "3"
    await servers.close()
    with pytest.raises(FunctionExecutionException, match="the server of plugin 'it' is gone"):
        await hanging


async def test_a_server_that_does_not_answer_in_time_is_one_line_with_what_it_wrote(tmp_path, monkeypatch):
    servers = PluginServers({"it": stdio("mute", start_timeout=60, env={"ASKED": str(tmp_path / "asked")})})
    opening = asyncio.create_task(servers.open())
    await reached((tmp_path / "asked").exists)
    loop, clock = asyncio.get_running_loop(), asyncio.get_running_loop().time
    monkeypatch.setattr(loop, "time", lambda: clock() + 60)
    await opening
    assert servers.failures == {"it": "no answer within 60 s; it wrote: still loading"}
    await servers.close()


async def test_closing_gives_up_a_start_under_way(tmp_path):
    servers = PluginServers({"it": stdio("mute", env={"ASKED": str(tmp_path / "asked")})})
    opening = asyncio.create_task(servers.open())
    await reached((tmp_path / "asked").exists)
    with no_wait_of(2):
        await servers.close()
        await opening
    until(lambda: children() == [])


async def test_what_a_server_started_goes_with_it_and_a_stubborn_server_is_killed(opened):
    servers = await opened(family=stdio("family"), stubborn=stdio("stubborn"))
    assert len(children()) == 3
    with no_wait_of(4.5):
        await servers.close()
    until(lambda: children() == [])


async def test_a_killed_server_leaves_no_family(opened):
    servers = await opened(it=stdio("family"))
    with pytest.raises(FunctionExecutionException, match="is gone"):
        await call(servers, "it.die")
    await servers.close()
    until(lambda: children() == [])


@pytest.mark.slow
async def test_twenty_runs_in_a_row_leave_nothing(opened, over_http):
    http, _ = over_http("http")
    descriptors, tasks = set(), set()
    for _ in range(20):
        servers = await opened(one=stdio(), http=http, bad=stdio(command="nowhere"))
        assert await call(servers, "one.add", a=1) == await call(servers, "http.add", a=1) == "3"
        await servers.close()
        assert children() == []
        descriptors.add(len(os.listdir("/dev/fd")))
        tasks.add(len(asyncio.all_tasks()))
    assert len(tasks) == 1
    assert max(descriptors) - min(descriptors) <= 1


# -- OpenAPI

PARTY = {"type": "object", "properties": {"name": {"type": "string"}, "of": {"$ref": "#/components/schemas/Party"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "components": {"schemas": {"Party": PARTY}},
    "paths": {
        "/orders/{id}": {
            "parameters": [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "Its number.",
                    "schema": {"type": "integer"},
                }
            ],
            "get": {
                "operationId": "orders.get",
                "summary": "One order.",
                "description": "With all it has.",
                "parameters": [{"name": "full", "in": "query", "schema": {"type": ["boolean", "null"]}}],
                "responses": {"200": {"description": "it", "content": {"text/plain": {}}}},
            },
            "delete": {"responses": {"204": {"description": "gone"}}},
        },
        "/orders": {
            "post": {
                "operationId": "create",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["item"],
                                "properties": {
                                    "item": {"type": "string", "enum": ["tea", "milk"]},
                                    "buyer": {"$ref": "#/components/schemas/Party"},
                                    "notes": {"type": "object"},
                                },
                            }
                        }
                    }
                },
                "responses": {},
            },
        },
        "/upload": {"post": {"operationId": "upload", "requestBody": {"content": {"image/png": {}}}, "responses": {}}},
        "/never": {"get": {"operationId": "never", "responses": {}}},
    },
}


@pytest_asyncio.fixture
async def service() -> AsyncIterator[str]:
    """An HTTP service on loopback that answers with what it was asked; its URL."""

    async def echo(request: web.Request) -> web.Response:
        if request.path == "/openapi.json":
            never = {"summary": f"asked with {request.headers.get('X-Key')}", "operationId": "never", "responses": {}}
            paths = DOCUMENT["paths"] | {"/never": {"get": never}}
            return web.json_response(DOCUMENT | {"servers": [{"url": "/"}], "paths": paths})
        if request.path == "/never":
            await asyncio.sleep(3600)
        if (status := request.path.rpartition("/")[2]) in ("404", "500"):
            return web.Response(status=int(status), text="no such\norder")
        body = await request.json() if request.can_read_body else None
        seen = [request.method, request.path_qs, request.headers.get("X-Key"), body]
        return web.json_response(seen)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_an_openapi_service_answers_by_file_by_url_and_by_another_server(opened, service, tmp_path):
    file = tmp_path / "orders.yaml"
    file.write_text(json.dumps(DOCUMENT | {"servers": [{"url": service}]}))
    bare = tmp_path / "bare.json"
    bare.write_text("\n" + json.dumps(DOCUMENT))
    servers = await opened(
        file=OpenAPIPlugin(type="openapi", spec=str(file), headers={"X-Key": "secret"}),
        url=OpenAPIPlugin(type="openapi", spec=f"{service}/openapi.json", headers={"X-Key": "secret"}),
        other=OpenAPIPlugin(type="openapi", spec=str(bare), server=f"{service}/v2", headers={"X-Key": "secret"}),
        none=OpenAPIPlugin(type="openapi", spec=str(bare)),
    )
    assert servers.failures == {"none": f"ValueError: {bare} names no server; set `server`"}
    for name, prefix in [("file", ""), ("url", ""), ("other", "/v2")]:
        assert list(servers.plugins[name].functions) == ["orders-get", "delete-orders-id", "create", "never"]
        said = json.loads(await call(servers, f"{name}.orders-get", id=7))
        assert said == ["GET", f"{prefix}/orders/7", "secret", None]
    body = {"item": "tea", "buyer": {"name": "Al", "of": {"name": "Bo"}}, "notes": {"any": [1, 2]}}
    assert json.loads(await call(servers, "url.create", **body)) == ["POST", "/orders", "secret", body]
    assert wire(servers, "url.orders-get") == {
        "name": "url-orders-get",
        "description": "One order.\n\nWith all it has.",
        "parameters": {
            "type": "object",
            "properties": {
                "id": {"type": "integer", "description": "Its number."},
                "full": {"type": ["boolean", "null"]},
            },
            "required": ["id"],
        },
    }
    open_party = PARTY | {"properties": PARTY["properties"] | {"of": {}}}  # type: ignore[operator]
    assert wire(servers, "url.create")["parameters"] == {
        "type": "object",
        "properties": {
            "item": {"type": "string", "enum": ["tea", "milk"]},
            "buyer": open_party,
            "notes": {"type": "object"},
        },
        "required": ["item"],
    }


async def test_an_answer_that_is_no_success_raises_with_its_status_and_words(opened, service):
    servers = await opened(it=OpenAPIPlugin(type="openapi", spec=f"{service}/openapi.json"))
    for status, name in [(404, "Not Found"), (500, "Internal Server Error")]:
        with pytest.raises(FunctionExecutionException) as caught:
            await call(servers, "it.orders-get", id=status)
        assert str(caught.value.__cause__) == f"{status} {name}: no such order"


async def test_a_service_that_does_not_answer_or_is_gone_is_bounded_by_the_caller(opened, service):
    servers = await opened(
        it=OpenAPIPlugin(type="openapi", spec=f"{service}/openapi.json", server="http://127.0.0.1:9")
    )
    with pytest.raises(FunctionExecutionException) as caught:
        await call(servers, "it.never")
    assert "All connection attempts failed" in str(caught.value.__cause__)
    servers = await opened(it=OpenAPIPlugin(type="openapi", spec=f"{service}/openapi.json"))
    with pytest.raises(TimeoutError):
        await call(servers, "it.never", seconds=0.2)


async def test_headers_go_to_no_host_but_the_stated_server(opened, service):
    headers = {"X-Key": "secret"}
    elsewhere = "http://localhost:" + service.rpartition(":")[2]
    for server, sent in [(None, "secret"), (f"{service}/v2", "secret"), (elsewhere, None)]:
        config = OpenAPIPlugin(type="openapi", spec=f"{service}/openapi.json", server=server, headers=headers)
        servers = await opened(it=config)
        assert wire(servers, "it.never")["description"] == f"asked with {sent}"
        assert json.loads(await call(servers, "it.orders-get", id=1))[2] == "secret"
