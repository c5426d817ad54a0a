"""Plans that are made on the page, to be edited there before a run carries them out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magentic_kit.errors import ConfigError, KitError, Problem
from magentic_kit.factory import TeamFactory
from magentic_kit.serve.page.teams import TeamCard
from magentic_kit.serve.page.uploads import SentForm
from magentic_kit.team.plan import TaskLedger

_MOST = 20  # plans that are kept


@dataclass
class Draft:
    """A plan for a task of a team; `ledger` is None until it is made, or if `problems` say why it is not."""

    key: str
    card: TeamCard
    sent: SentForm
    task: str
    inputs: Mapping[str, Any]
    limits: Mapping[str, Any]
    ledger: TaskLedger | None = None
    problems: tuple[Problem, ...] = ()
    making: asyncio.Task[None] | None = None

    @property
    def team_name(self) -> str:
        """The team's name."""
        return self.card.name

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return self.ledger is not None or bool(self.problems)


class Drafts:
    """The latest plans, by their keys."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}

    def begin(
        self, card: TeamCard, sent: SentForm, task: str, inputs: Mapping[str, Any], limits: Mapping[str, Any]
    ) -> Draft:
        """Begins to make a plan."""
        draft = Draft(secrets.token_hex(8), card, sent, task, inputs, limits)
        self._drafts[draft.key] = draft
        for key in list(self._drafts)[:-_MOST]:
            self._drafts.pop(key)
        draft.making = asyncio.create_task(_make(draft))
        return draft

    def find(self, key: str) -> Draft:
        """Returns a plan. Raises `KeyError`."""
        return self._drafts[key]

    async def close(self) -> None:
        """Ends what is being made."""
        tasks = [draft.making for draft in self._drafts.values() if draft.making]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _make(draft: Draft) -> None:
    try:
        async with TeamFactory.from_yaml(draft.card.path) as factory:
            draft.ledger = await factory.plan(
                draft.task or None, inputs=draft.inputs, limits=draft.limits, attach=draft.sent.files
            )
    except ConfigError as error:
        draft.problems = draft.sent.named(error.problems)
    except KitError as error:
        draft.problems = ConfigError.one(str(error), file=draft.card.file).problems
