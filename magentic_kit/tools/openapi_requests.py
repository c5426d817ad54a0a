"""Arguments of an OpenAPI operation as parts of an HTTP request: parameters by their style, a body by its type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

Value: TypeAlias = Any
"""An argument as a model gave it, or a piece of one: whatever JSON has."""

Parts: TypeAlias = dict[str, Any]
"""Arguments of `httpx.AsyncClient.request`."""

_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
_SEPARATORS = {"spaceDelimited": "%20", "pipeDelimited": "%7C", "form": ",", "simple": ",", "label": ".", "matrix": ","}
_STYLES_OF = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form", "cookie"),
}


@dataclass(frozen=True)
class SentParameter:
    """A parameter of an operation: its name for the model and on the wire, where and how it is sent."""

    argument: str
    name: str
    place: str
    style: str
    explode: bool
    is_json: bool = False
    allow_reserved: bool = False

    @classmethod
    def of(cls, argument: str, parameter: Mapping[str, Value]) -> SentParameter:
        """The parameter as the document describes it. Raises `ValueError` if it cannot be sent so."""
        place = parameter["in"]
        if place not in _STYLES:
            raise ValueError(f"its parameter '{parameter['name']}' is in '{place}'")
        style = parameter.get("style", _STYLES[place])
        if style not in _STYLES_OF[place]:
            raise ValueError(f"its parameter '{parameter['name']}' has the style '{style}'")
        return cls(
            argument=argument,
            name=parameter["name"],
            place=place,
            style=style,
            explode=parameter.get("explode", style in ("form", "cookie")),
            is_json=bool(parameter.get("content")),
            allow_reserved=bool(parameter.get("allowReserved")),
        )

    def pairs(self, value: Value) -> list[tuple[str, str]]:
        """The value as `name=value` pairs of a query, a form or cookies, encoded."""
        name = self._encoded(self.name)
        if self.is_json:
            return [(name, self._encoded(json.dumps(value)))]
        if isinstance(value, Mapping):
            return self._pairs_of_object(name, value)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return [(name, self._encoded(text_of(value)))]
        items = [self._encoded(text_of(item)) for item in value]
        if self.explode:
            return [(name, item) for item in items]
        return [(name, _SEPARATORS.get(self.style, ",").join(items))]

    def _pairs_of_object(self, name: str, value: Mapping[str, Value]) -> list[tuple[str, str]]:
        if self.style == "deepObject":
            return [pair for key, item in value.items() for pair in self._deep(f"{name}[{self._encoded(key)}]", item)]
        members = [(self._encoded(key), self._encoded(text_of(item))) for key, item in value.items()]
        if self.explode:
            return members
        flat = [text for member in members for text in member]
        return [(name, _SEPARATORS.get(self.style, ",").join(flat))]

    def _deep(self, name: str, value: Value) -> list[tuple[str, str]]:
        """Members of members; OpenAPI leaves their form open, and servers read this one."""
        if isinstance(value, Mapping):
            return [pair for key, item in value.items() for pair in self._deep(f"{name}[{self._encoded(key)}]", item)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [(name, self._encoded(text_of(item))) for item in value]
        return [(name, self._encoded(text_of(value)))]

    def in_path(self, value: Value) -> str:
        """The value as it stands in the path."""
        text = self._simple(value, quote_all)
        if self.style == "label":
            return "." + text
        if self.style != "matrix":
            return text
        name = quote_all(self.name)
        if self.explode and isinstance(value, Mapping):
            return "".join(f";{quote_all(key)}={quote_all(text_of(item))}" for key, item in value.items())
        if self.explode and isinstance(value, list):
            return "".join(f";{name}={quote_all(text_of(item))}" for item in value)
        return f";{name}={text}"

    def in_header(self, value: Value) -> str:
        """The value as a header, which cannot have line breaks."""
        return " ".join(self._simple(value, str).splitlines())

    def _simple(self, value: Value, encode: Callable[[str], str]) -> str:
        if self.is_json:
            return str(encode(json.dumps(value)))
        separator = _SEPARATORS[self.style]
        if self.explode and self.style == "label":
            separator = "."
        if isinstance(value, Mapping):
            between = separator
            if self.explode:
                between = "="
            return separator.join(f"{encode(key)}{between}{encode(text_of(item))}" for key, item in value.items())
        if isinstance(value, list):
            return separator.join(encode(text_of(item)) for item in value)
        return str(encode(text_of(value)))

    def _encoded(self, text: str) -> str:
        if self.allow_reserved and self.place == "query":
            return quote(text, safe="-._~:/?[]@!$'()*,;")  # what does not end the value
        return quote_all(text)


@dataclass(frozen=True)
class SentBody:
    """The body of an operation: its media type, and its members' parameters, or the one that is all of it."""

    media_type: str
    members: Mapping[str, str] = field(default_factory=dict)
    """The parameter's name for the model -> the member's name in the body."""
    whole: str = ""
    """Name of the parameter that is the whole body."""
    nullable: frozenset[str] = frozenset()
    """Members that may be null; a null elsewhere stands for what the model leaves out."""
    files: frozenset[str] = frozenset()
    """Members that are sent as files."""

    def content(self, arguments: Mapping[str, Value]) -> Parts:
        """The body as httpx takes it; nothing if no argument is given."""
        if self.whole:
            if arguments.get(self.whole) is None:
                return {}
            return self._one(arguments[self.whole])
        values: dict[str, Value] = {}
        for argument, name in self.members.items():
            if argument in arguments and (arguments[argument] is not None or name in self.nullable):
                values[name] = arguments[argument]
        if self.media_type == "multipart/form-data":
            return {"files": [part for name, value in values.items() for part in self._parts(name, value)]}
        if self.media_type == "application/x-www-form-urlencoded":
            return self._form(values)
        return self._json(values)

    def _one(self, value: Value) -> Parts:
        if self.media_type == "application/x-www-form-urlencoded" and isinstance(value, Mapping):
            return self._form(value)
        if "json" in self.media_type:
            return self._json(value)
        return {"content": text_of(value).encode(), "headers": {"Content-Type": self.media_type}}

    def _json(self, value: Value) -> Parts:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return {"content": text.encode(), "headers": {"Content-Type": self.media_type}}

    def _form(self, values: Mapping[str, Value]) -> Parts:
        pairs: list[tuple[str, str]] = []
        for name, value in values.items():
            if isinstance(value, Mapping):
                value = json.dumps(value)
            pairs += SentParameter(name, name, "query", "form", explode=True).pairs(value)
        text = "&".join(f"{name}={value}" for name, value in pairs)
        return {"content": text.encode(), "headers": {"Content-Type": self.media_type}}

    def _parts(self, name: str, value: Value) -> list[tuple[str, Value]]:
        values: list[Value] = [value]
        if isinstance(value, list):
            values = value
        file_name = None
        if name in self.files:
            file_name = f"{name}.txt"
        return [(name, (file_name, text_of(one).encode())) for one in values]


@dataclass(frozen=True)
class SentOperation:
    """How an operation is sent: its method and path, its parameters and its body."""

    method: str
    path: str
    parameters: Sequence[SentParameter]
    body: SentBody | None = None

    def request(
        self, arguments: Mapping[str, Value], always_query: Mapping[str, str], always_cookies: Mapping[str, str]
    ) -> Parts:
        """The arguments of `httpx.AsyncClient.request`, with `url` below the server. Raises `ValueError`.

        `always_query` and `always_cookies` are sent with every request.
        """
        path = self.path
        query = [f"{quote_all(name)}={quote_all(text)}" for name, text in always_query.items()]
        cookies = [f"{quote_all(name)}={quote_all(text)}" for name, text in always_cookies.items()]
        headers: dict[str, str] = {}
        for parameter in self.parameters:
            value = arguments.get(parameter.argument)
            if value is None:
                continue
            match parameter.place:
                case "path":
                    path = path.replace(f"{{{parameter.name}}}", parameter.in_path(value))
                case "query":
                    query += [f"{name}={text}" for name, text in parameter.pairs(value)]
                case "cookie":
                    cookies += [f"{name}={text}" for name, text in parameter.pairs(value)]
                case "header":
                    headers[parameter.name] = parameter.in_header(value)
        if any(unquote(segment) in (".", "..") for segment in unquote(path).replace("\\", "/").split("/")):
            raise ValueError(f"the path {path} would leave the server's")
        request: Parts = {}
        if self.body is not None:
            request = self.body.content(arguments)
        headers.update(request.pop("headers", {}))
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        url = path.lstrip("/")
        if query:
            url += "?" + "&".join(query)
        return {"method": self.method.upper(), "url": url, "headers": headers, **request}


def text_of(value: Value) -> str:
    """A value as it stands in a request: as JSON has it, text without quotes."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def quote_all(text: str) -> str:
    """The text with everything encoded that is not plain."""
    return quote(text, safe="")
