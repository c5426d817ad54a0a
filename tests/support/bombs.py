"""What strangers send that would take all time or memory, and how much of both a piece of work takes."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

LEVELS = 12
"""Levels of ten references each: 10¹² copies of the innermost."""


def nested_references(where: str) -> dict[str, Any]:
    """Schemas by name; each of the first refers ten times to the next. `where` is the pointer to them."""
    schemas: dict[str, Any] = {
        f"L{level}": {"properties": {f"p{n}": {"$ref": f"{where}/L{level + 1}"} for n in range(10)}}
        for level in range(LEVELS)
    }
    return schemas | {f"L{LEVELS}": {"type": "string"}}


def overlapping_references(where: str) -> dict[str, Any]:
    """Schemas inside each other, with a reference to each of them, so that to measure one measures all below."""
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(60):
        deep = {"type": "object", "properties": {"a": deep, "b": {"type": "object", "description": "x" * 1_000}}}
    pointers = [f"{where}/Deep{'/properties/a' * level}" for level in range(60)]
    everything = {f"p{n}": {"$ref": pointers[n % 60]} for n in range(2_000)}
    return {"Deep": deep, "L0": {"properties": everything}}


def large_texts(where: str) -> dict[str, Any]:
    """A text of a megabyte, which a thousand references repeat."""
    text = {"type": "string", "description": "x" * 1_000_000}
    return {"Text": text, "L0": {"properties": {f"p{n}": {"$ref": f"{where}/Text"} for n in range(1_000)}}}


def recursive(where: str) -> dict[str, Any]:
    """Schemas that all refer to all."""
    names = [f"L{n}" for n in range(30)]
    return {name: {"properties": {other: {"$ref": f"{where}/{other}"} for other in names}} for name in names}


SCHEMAS: dict[str, Callable[[str], dict[str, Any]]] = {
    "nested": nested_references,
    "overlapping": overlapping_references,
    "texts": large_texts,
    "recursive": recursive,
}
"""Each has a schema `L0` that refers to the others."""


def document(**schemas: Any) -> dict[str, Any]:
    """An OpenAPI document whose two operations take an `L0`."""
    reference = {"$ref": "#/components/schemas/L0"}
    body = {"type": "object", "properties": {"it": reference}}
    operation = {
        "parameters": [{"name": "where", "in": "query", "schema": reference}],
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {},
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": "http://127.0.0.1:9"}],
        "components": {"schemas": schemas},
        "paths": {"/one": {"post": operation}, "/two": {"put": operation}},
    }


def large_document(size: int) -> tuple[str, str]:
    """An honest document of `size` characters, as JSON and as YAML: operations with many described parameters."""
    field = {"type": "string", "maxLength": 5_000, "description": "Some words about what the field is for."}
    properties = {f"f{n}": field for n in range(40)} | {"address": {"$ref": "#/components/schemas/L0"}}
    operation = {
        "summary": "Makes a thing.",
        "parameters": [{"name": f"q{n}", "in": "query", "schema": field} for n in range(12)],
        "requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": properties}}}},
        "responses": {},
    }
    answer = {"description": "The thing.", "content": {"application/json": {"schema": {"properties": properties}}}}
    operation["responses"] = {"200": answer}
    head = document(L0={"type": "object", "properties": {f"a{n}": field for n in range(8)}}) | {"paths": {}}
    one = json.dumps({"post": operation})
    paths = ", ".join(f'"/v1/thing{number}": {one}' for number in range(size // len(one)))
    as_json = json.dumps(head)[:-2] + paths + "}}"
    without_aliases = json.loads(one)
    one = textwrap.indent(yaml.safe_dump(without_aliases, sort_keys=False), "    ")
    paths = "".join(f"  /v1/thing{number}:\n{one}" for number in range(size // len(one)))
    as_yaml = yaml.safe_dump(json.loads(json.dumps(head)), sort_keys=False).replace("paths: {}\n", "paths:\n" + paths)
    return as_json, as_yaml


def alias_bomb(head: str = "", *, merges: bool = False) -> str:
    """YAML of some 500 characters whose aliases stand for 10⁹ values."""
    lines = [head, "a0: &a0 {x: 1}" if merges else "a0: &a0 [x, x]"]
    for level in range(1, 10):
        many = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + ("{<<: [%s]}" if merges else "[%s]") % many)
    return "\n".join(lines)


@dataclass(frozen=True)
class Spent:
    """What a piece of work took, in seconds of processor and mebibytes at most, and what came of it.

    The seconds are those of a processor that does `yardstick` in `YARD`, whatever else this one has to do.
    """

    seconds: float
    megabytes: float
    outcome: str


YARD = 0.2
"""Seconds of processor for `yardstick` on the machine that the bounds are meant for."""


def yardstick() -> float:
    """The seconds of processor that fixed work takes here and now."""
    began = time.process_time()
    for _ in range(5):
        dict.fromkeys(map(str, range(100_000)))
    return time.process_time() - began


def spent(work: Callable[[], str]) -> Spent:
    """Does the work in a child process of its own, forked, so that what was imported is not counted again."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        gc.freeze()  # nor what the collector would spend on it
        before, began = yardstick(), time.process_time()
        try:
            outcome = work()
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        seconds = (time.process_time() - began) * 2 * YARD / (before + yardstick())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1_024
        report = [seconds, usage.ru_maxrss * unit / 2**20, outcome[:2_000]]
        os.write(write, json.dumps(report).encode())
        os._exit(0)
    os.close(write)
    hang = time.monotonic() + 120
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > hang:
            os.kill(pid, 9)
        time.sleep(0.02)
    with os.fdopen(read) as pipe:
        return Spent(*json.loads(pipe.read() or '[999, 999, "killed"]'))
