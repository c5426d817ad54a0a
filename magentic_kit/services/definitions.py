"""Schemas of functions with the `$defs` that they refer to, for models that follow references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magentic_kit.team.values import WRITTEN_SCHEMA


class WithDefinitions:
    """Put before the class of a connector: a function that has its schema as it was written is offered by that."""

    def follows_references(self) -> bool:
        """Whether the server's models take references; they get what these point at in their places otherwise."""
        return True

    def _update_function_choice_settings_callback(self) -> Callable[..., None]:
        update = super()._update_function_choice_settings_callback()  # type: ignore[misc]
        if not self.follows_references():
            return update  # type: ignore[no-any-return]

        def offer(configuration: Any, settings: Any, choice: Any) -> None:
            update(configuration, settings, choice)
            for function, tool in zip(configuration.available_functions or (), settings.tools or (), strict=False):
                schema = (function.additional_properties or {}).get(WRITTEN_SCHEMA)
                if schema is None:
                    continue
                if "function" in tool:  # by OpenAI's format
                    tool["function"]["parameters"] = schema
                else:
                    tool["input_schema"] = schema

        return offer
