"""Replies from a script or a log in place of a model, for the tests of your teams."""

from magentic_kit.services.replay import ReplayChatCompletion
from magentic_kit.services.scripted import Script, ScriptedChatCompletion, ledger

__all__ = ["ReplayChatCompletion", "Script", "ScriptedChatCompletion", "ledger"]
