"""The pace of services, which all workers of a database keep together: when each may be called next."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from magentic_kit.cluster.store import LIMITS, SERVICES, Store


def limit_of(name: str) -> Any:
    """The value of a limit, as a part of a statement."""
    return sa.select(LIMITS.c.value).where(LIMITS.c.name == name).scalar_subquery()


def _seconds_each(limit: str) -> Any:
    """How far calls or tokens are apart under a limit a minute."""
    return sa.func.coalesce(sa.literal_column("60.0", sa.Float) / limit_of(limit), 0.0)


class PaceTable(Store):
    """Requests and tokens of each service, by one clock: the database's."""

    def enter(self, service: str) -> float:
        """Seconds to wait before this is asked again; 0 if a call may be made now, which then counts."""
        this = SERVICES.c.name == service
        opens = self.greatest(SERVICES.c.next_call, SERVICES.c.paid_until, SERVICES.c.reopens)
        now = sa.update(SERVICES).where(this, opens <= self.now)
        if self.changed(now.values(next_call=self.now + _seconds_each("rpm"))):
            return 0.0
        for row in self.all(sa.select((opens - self.now).label("wait")).where(this)):
            return max(float(row.wait), 0.001)
        self.insert(SERVICES, {"name": service})
        return 0.001

    def replied(self, service: str, tokens: int) -> None:
        """Tells that a service has answered."""
        paid = self.greatest(SERVICES.c.paid_until, self.now) + tokens * _seconds_each("tpm")
        self.changed(sa.update(SERVICES).where(SERVICES.c.name == service).values(paid_until=paid))

    def refused(self, service: str, seconds: float) -> None:
        """Tells that a service has asked for so much time."""
        reopens = self.greatest(SERVICES.c.reopens, self.now + seconds)
        self.changed(sa.update(SERVICES).where(SERVICES.c.name == service).values(reopens=reopens))
