"""What time decides about commands, on a clock of its own (the fakes are explained in ``test_dispatch_model``)."""

import asyncio
from collections.abc import Awaitable, Callable

from relevo.clock import ManualClock
from relevo.dialects.autocore import Autocore
from relevo.dialects.autocore.commands import ANSWER_MS
from relevo.dispatch import Dispatch, Wish
from relevo.domain.commands import Command, Ledger
from relevo.domain.devices import Registry
from relevo.domain.events import DeviceAnswered, DeviceRegistered
from tests.test_dispatch_model import Boards, Disk, Refusals


class Bench:
    """One relay board that listens, and a road that commits when told."""

    def __init__(self) -> None:
        self.clock, self.disk, self.refusals = ManualClock(), Disk(), Refusals()
        self.boards = Boards(self.clock)
        self.boards.online.add("board")
        self.dialect = Autocore()
        registry = Registry()
        registry.apply(DeviceRegistered("board", "autocore", "uuid-1", "board", "relay", 0))

        async def recall(command_id: str) -> Command | None:
            return None

        self.dispatch = Dispatch(
            Ledger(),
            self.disk,  # type: ignore[arg-type]
            registry,
            {"autocore": self.dialect},
            self.refusals,  # type: ignore[arg-type]
            self.clock,
            recall,
        )
        self.dispatch.egress = self.boards
        self.disk.followers = [self.dispatch.follow]

    async def commit_while(self, work: Callable[[], Awaitable[Command]]) -> Command:
        task = asyncio.ensure_future(work())
        while not task.done():
            await asyncio.sleep(0)
            self.disk.commit(100)
        return task.result()

    def answer(self, channel: int) -> None:
        said = DeviceAnswered(
            "board", self.clock.now_ms(), {"type": "relay_response", "channel": channel, "state": True}
        )
        self.disk.submit([said, *self.dispatch.heard(self.dialect, "board", said)])
        self.disk.commit(100)


async def test_autocore_10_no_response_for_ten_seconds_is_a_timeout_that_a_late_one_does_not_revive() -> None:
    bench = Bench()
    wish = Wish("board", "relay", {"channel": 3, "state": True}, "ann")
    command = await bench.commit_while(lambda: bench.dispatch.ask(wish))
    assert command.state == "sent"
    bench.clock.advance((ANSWER_MS - 1) / 1000)
    bench.dispatch.look()
    bench.disk.commit(100)
    assert command.state == "sent"
    bench.clock.advance(0.001)
    bench.dispatch.look()
    bench.disk.commit(100)
    assert (command.state, command.reason) == ("timed_out", "sent, but no answer in time")
    bench.answer(3)
    assert command.state == "timed_out"
    assert bench.refusals.told == ["answer_unmatched"]
    assert len(bench.boards.executed) == 1


async def test_the_next_of_a_channel_leaves_when_the_first_is_given_up() -> None:
    bench = Bench()
    wish = Wish("board", "relay", {"channel": 3, "state": True}, "ann")
    first = await bench.commit_while(lambda: bench.dispatch.ask(wish))
    second = await bench.commit_while(lambda: bench.dispatch.ask(wish))
    assert (first.state, second.state) == ("sent", "queued")
    bench.clock.advance(ANSWER_MS / 1000)
    bench.dispatch.look()
    bench.disk.commit(100)
    bench.disk.commit(100)
    assert (first.state, second.state) == ("timed_out", "sent")
    bench.answer(3)
    assert second.state == "confirmed"
