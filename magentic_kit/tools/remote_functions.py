"""Functions for Semantic Kernel that something elsewhere carries out: an MCP server, an HTTP service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from semantic_kernel.filters.functions.function_invocation_context import FunctionInvocationContext
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit.team.values import WRITTEN_SCHEMA

Call = Callable[[dict[str, Any]], Awaitable[Any]]
"""Carries out a function with the arguments that the model gave."""


ONLY_BY_NAME = "only_by_name"
"""Marks a function that no wildcard stands for."""


class ConnectedPlugin(NamedTuple):
    """A plugin that is connected, and in words what of it cannot be offered."""

    plugin: KernelPlugin
    left_out: tuple[str, ...] = ()


class Parameter(NamedTuple):
    """A parameter of a function: its name for the model, and its JSON Schema."""

    name: str
    schema: Any
    is_required: bool


def remote_function(
    plugin: str,
    name: str,
    description: str | None,
    parameters: Iterable[Parameter],
    call: Call,
    *,
    only_by_name: bool = False,
    written: Mapping[str, Any] | None = None,
) -> KernelFunctionFromMethod:
    """A function of the plugin that `call` carries out; `only_by_name` if no wildcard is to stand for it.

    `written` is the schema of all parameters with its `$defs`, for models that follow references.
    """
    marks: dict[str, Any] = {}
    if only_by_name:
        marks[ONLY_BY_NAME] = True
    if written is not None:
        marks[WRITTEN_SCHEMA] = written

    async def carry_out(**arguments: Any) -> Any:
        return await call(arguments)

    return _ModelArguments(  # type: ignore[call-arg]  # pydantic's inherited signature
        method=kernel_function(name=name, description=description)(carry_out),
        plugin_name=plugin,
        # Not validated, as SK refuses parameter names such as `filter.name`.
        parameters=[
            KernelParameterMetadata.model_construct(name=one.name, is_required=one.is_required, schema_data=one.schema)
            for one in parameters
        ],
        additional_metadata=marks,
    )


class _ModelArguments(KernelFunctionFromMethod):
    """A function that gets the model's arguments; SK puts its own for those named kernel, service or arguments."""

    def gather_function_parameters(self, context: FunctionInvocationContext) -> dict[str, Any]:
        names = {parameter.name for parameter in self.parameters}
        return {name: value for name, value in context.arguments.items() if name in names}


def are_schemas(properties: Mapping[str, Any] | Any) -> bool:
    """Whether these are the schemas of parameters by name."""
    return isinstance(properties, dict) and all(isinstance(schema, dict | bool) for schema in properties.values())
