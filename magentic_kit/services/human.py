"""A person as a team member: to the rest of the run, a chat service that takes its time."""

from __future__ import annotations

from pydantic import PrivateAttr
from semantic_kernel.agents.orchestration.magentic import MagenticManagerActor
from semantic_kernel.contents import ChatHistory
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.events import MANAGER, Usage
from magentic_kit.services.reply import Answer, InProcessChatCompletion
from magentic_kit.team.people import HumanTurn, Speaker, ask

_MANAGER = MagenticManagerActor.__name__
"""What Semantic Kernel calls the manager in conversations."""


class HumanChatCompletion(InProcessChatCompletion):
    """Asks a person for the reply; so a person's turn is logged, cancelled and resumed like a model's."""

    _name: str = PrivateAttr()
    _speaker: Speaker = PrivateAttr()
    _run_id: str = PrivateAttr()

    def __init__(self, name: str, speaker: Speaker, run_id: str) -> None:
        super().__init__(ai_model_id="human", service_id="human")
        self._name, self._run_id = name, run_id
        self._speaker = speaker

    async def _reply(self, history: ChatHistory) -> Answer:
        instructions, heard = "", list[tuple[str, str]]()
        for message in history.messages:
            if message.role == AuthorRole.SYSTEM:
                instructions = message.content
            elif message.role == AuthorRole.USER:
                speaker = MANAGER if message.name == _MANAGER else message.name
                heard.append((speaker or "", message.content))
            else:
                heard.clear()
        call = self._call.name if self._call else ""
        turn = HumanTurn(name=self._name, instructions=instructions, heard=tuple(heard), id=f"{self._run_id}/{call}")
        text = await ask(self._speaker, turn)
        return Answer(text=text, usage=Usage(prompt_tokens=0, completion_tokens=0))
