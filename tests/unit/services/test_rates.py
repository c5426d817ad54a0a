"""The pace of calls to a service, on a clock that the test turns on."""

from __future__ import annotations

import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magentic_kit.services.rate_limits import Pace, Throttle


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def begin(pace: Pace, clock: Clock) -> float:
    """Begins the next call as soon as it may, and returns when."""
    while (wait := await pace.enter()) > 0:
        clock.now += wait
    return clock.now


@pytest.mark.parametrize("now", [0.0, 1000.0])
async def test_without_limits_nobody_waits(now: float) -> None:
    pace = Pace(Clock(now))
    assert [await pace.enter() for _ in range(100)] == [0.0] * 100
    assert Throttle(pace, Clock(now)).closed_for == 0.0


async def test_a_call_that_has_to_wait_does_not_count_yet() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.limit(rpm=120, tpm=None)
    assert [await pace.enter() for _ in range(3)] == [0.0, 0.5, 0.5]
    clock.now += 0.25
    assert await pace.enter() == 0.25
    clock.now += 0.25
    assert [await pace.enter(), await pace.enter()] == [0.0, 0.5]


async def test_requests_are_spread_over_the_minute() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.limit(rpm=6, tpm=None)
    assert [await begin(pace, clock) - 1000 for _ in range(4)] == [0, 10, 20, 30]
    clock.now += 100  # who was idle has saved nothing up
    assert [await begin(pace, clock) - 1130 for _ in range(2)] == [0, 10]


async def test_tokens_are_paid_off_before_the_next_call() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.limit(rpm=None, tpm=60)
    assert await pace.enter() == 0
    await pace.replied(30)
    assert await pace.enter() == pytest.approx(30)
    await pace.replied(15)
    assert await pace.enter() == pytest.approx(45)
    clock.now += 45
    assert await pace.enter() == 0


async def test_a_refusal_closes_the_service_for_the_time_it_asked_for() -> None:
    clock = Clock()
    pace = Pace(clock)
    await pace.refused(20)
    await pace.refused(5)  # a shorter wish shortens nothing
    assert await pace.enter() == 20
    clock.now += 20
    assert await pace.enter() == 0


@given(
    rpm=st.integers(1, 1000),
    tpm=st.integers(1, 100_000),
    calls=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5000)), min_size=2, max_size=30),
)
def test_no_minute_has_more_than_its_requests(rpm: int, tpm: int, calls: list[tuple[float, int]]) -> None:
    async def times() -> list[float]:
        clock = Clock()
        pace = Pace(clock)
        pace.limit(rpm=rpm, tpm=tpm)
        began = []
        for idle, tokens in calls:
            clock.now += idle
            began.append(await begin(pace, clock))
            await pace.replied(tokens)
        return began

    began = anyio.run(times)
    for first in began:
        assert sum(first <= time < first + 59.999 for time in began) <= rpm


async def test_a_refusal_halves_the_calls_in_flight_once_a_wave_and_replies_make_room() -> None:
    clock = Clock()
    throttle = Throttle(Pace(clock), clock)
    for _ in range(8):
        await throttle.enter()
    for _ in range(8):  # eight answers to one wave
        await throttle.refused(5.0)
        throttle.leave()
    assert (throttle.in_flight, throttle.closed_for) == (0, 5.0)
    clock.now += 5
    with anyio.fail_after(5):
        for _ in range(4):
            await throttle.enter()
    assert throttle.in_flight == 4
    waiting = []

    async def one_more() -> None:
        await throttle.enter()
        waiting.append("entered")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one_more)
        await anyio.lowlevel.checkpoint()
        assert waiting == []
        await throttle.replied(0)
        throttle.leave()
    assert waiting == ["entered"] and throttle.in_flight == 4


async def test_the_place_of_a_call_that_was_cancelled_is_free_again() -> None:
    throttle = Throttle()
    await throttle.enter()
    await throttle.refused(0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(throttle.enter)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert throttle.in_flight == 1
    throttle.leave()
    with anyio.fail_after(5):
        await throttle.enter()
    assert throttle.in_flight == 1


async def fill(throttle: Throttle) -> int:
    """Makes calls as long as nobody has to wait; how many are in flight then."""

    async def go() -> None:
        while True:
            await throttle.enter()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return throttle.in_flight


async def test_each_wave_of_refusals_halves_anew_and_each_reply_makes_room_for_one() -> None:
    clock = Clock()
    throttle = Throttle(Pace(clock), clock)
    for _ in range(8):
        await throttle.enter()
    flights = []
    for _ in range(4):
        await throttle.refused(5.0)
        for _ in range(throttle.in_flight):
            throttle.leave()
        clock.now += 5  # what is refused from now on is of another wave
        flights.append(await fill(throttle))
    assert flights == [4, 2, 1, 1]
    await throttle.replied(0)
    assert await fill(throttle) == 2


async def test_who_has_to_wait_for_less_than_a_second_waits() -> None:
    throttle = Throttle()
    await throttle.refused(0.02)
    began = time.monotonic()
    with anyio.fail_after(60):
        await throttle.enter()
    assert time.monotonic() - began >= 0.02
