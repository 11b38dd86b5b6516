"""Any order of asking, connecting, answering, crashing and waiting, held against what people are promised.

The road here commits when the test says so, and a crash forgets what was not committed: that is what cannot be chosen
with a real disk. Everything else is the real ledger, dispatcher and contract. The model knows only what a person could
see: which commands a board executed and when, what it answered, and what the journal says.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relevo.clock import ManualClock
from relevo.dialect import Said
from relevo.dialects.native import Native
from relevo.dispatch import Dispatch, Wish
from relevo.domain.commands import ENDS, Command, Ledger, advance, opened
from relevo.domain.devices import Registry
from relevo.domain.events import (
    AnyEvent,
    CommandEnded,
    CommandQueued,
    CommandReturned,
    CommandSent,
    DeviceAnswered,
    DeviceRegistered,
)
from relevo.errors import Conflict
from relevo.pipeline import Outcome

LISTENING = ("north", "south")
# A board that comes both ways at the same moment has no order to speak of, so this one only asks over HTTP.
ASKING = "west"
BOARDS = (*LISTENING, ASKING)
TTL_S = (2.0, 30.0)


class Disk:
    """The road, with commits that come when the test wants them."""

    full = False

    def __init__(self) -> None:
        self.journal: list[AnyEvent] = []
        self.inbox: list[tuple[Sequence[AnyEvent], Any, Any]] = []
        self.followers: list[Any] = []

    def submit(self, events: Sequence[AnyEvent], done: Any = None, token: Any = None) -> None:
        self.inbox.append((list(events), done, token))

    async def accept(self, events: Sequence[AnyEvent], within_s: float = 10.0) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(events, lambda token, outcome: token.set_result(outcome), future)
        return await future

    def commit(self, most: int) -> None:
        batch, self.inbox = self.inbox[:most], self.inbox[most:]
        for events, _, _ in batch:
            self.journal += events
        for events, _, _ in batch:
            for event in events:
                for follow in self.followers:
                    follow(event)
        for events, done, token in batch:
            if done is not None:
                done(token, Outcome(len(events)))


class Refusals:
    """Counts what is told; nothing else of it matters here."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notice(self, device: str, kind: str, detail: str) -> None:
        self.told.append(kind)


class Boards:
    """Boards that execute everything they hear, once for each time they hear it."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.online: set[str] = set()
        self.broken: set[str] = set()
        self.executed: list[tuple[str, str, int]] = []
        self.unanswered: dict[str, list[str]] = defaultdict(list)

    def hears(self, device: str, topics: Sequence[str]) -> bool:
        return device in self.online

    def say(self, device: str, said: Said, token: str, expires_at: int) -> bool:
        if device not in self.online or device in self.broken:
            return False
        self.executed.append((device, token, self._clock.now_ms()))
        self.unanswered[device].append(token)
        return True


class Commanding(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.loop = asyncio.new_event_loop()
        self.disk = Disk()
        self.refusals = Refusals()
        self.boards = Boards(self.clock)
        self.registry = Registry()
        for board in BOARDS:
            self.registry.apply(DeviceRegistered(board, "native", board, board, "test", 0))
        self.dialect = Native()
        self.tasks: list[asyncio.Task[Any]] = []
        self.answered: dict[str, bool] = {}
        self.crashed_at = 0
        self.live(Ledger())

    def live(self, ledger: Ledger) -> None:
        async def recall(command_id: str) -> Command | None:
            return self.fold().get(command_id)

        self.dispatch = Dispatch(
            ledger,
            self.disk,  # type: ignore[arg-type]
            self.registry,
            {"native": self.dialect},
            self.refusals,  # type: ignore[arg-type]
            self.clock,
            recall,
        )
        self.dispatch.egress = self.boards
        self.disk.followers = [self.dispatch.follow]

    def turn(self) -> None:
        """Let everything that can run do so."""
        for _ in range(6):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled() and isinstance(task.exception(), Exception):
                assert isinstance(task.exception(), Conflict), task.exception()

    def fold(self) -> dict[str, Command]:
        """What the journal alone says."""
        found: dict[str, Command] = {}
        for event in self.disk.journal:
            if isinstance(event, CommandQueued):
                found[event.id] = opened(event)
            elif hasattr(event, "id"):
                assert advance(found[event.id], event), f"the journal holds a step that cannot be: {event}"
        return found

    # What people do

    @rule(
        board=st.sampled_from(BOARDS),
        ttl=st.sampled_from(TTL_S),
        key=st.sampled_from(["", "", "k1", "k2"]),
        times=st.integers(1, 3),
    )
    def ask(self, board: str, ttl: float, key: str, times: int) -> None:
        wish = Wish(board, "switch", {}, "ann", ttl_s=ttl, key=f"{board}-{key}" if key else "")
        for _ in range(times):
            self.tasks.append(self.loop.create_task(self.dispatch.ask(wish)))
        self.turn()

    @precondition(lambda self: len(self.dispatch.ledger))
    @rule(board=st.sampled_from(BOARDS), nth=st.integers(0, 3))
    def cancel(self, board: str, nth: int) -> None:
        for command in self.dispatch.ledger.of(board)[nth : nth + 1]:
            self.tasks.append(self.loop.create_task(self.dispatch.cancel(command, "ann")))
        self.turn()

    @precondition(lambda self: self.dispatch.ledger.has_open(ASKING))
    @rule(most=st.integers(1, 4))
    def poll(self, most: int) -> None:
        async def take() -> None:
            for command in await self.dispatch.take(ASKING, 0, most):
                self.boards.executed.append((ASKING, command.id, self.clock.now_ms()))
                self.boards.unanswered[ASKING].append(command.id)

        self.tasks.append(self.loop.create_task(take()))
        self.turn()

    # What boards do

    @rule(board=st.sampled_from(LISTENING))
    def connect(self, board: str) -> None:
        self.boards.online.add(board)
        self.boards.broken.discard(board)
        self.dispatch.listening(board)
        self.turn()

    @precondition(lambda self: self.boards.online)
    @rule(board=st.sampled_from(LISTENING))
    def leave(self, board: str) -> None:
        self.boards.online.discard(board)

    @precondition(lambda self: self.boards.online)
    @rule(board=st.sampled_from(LISTENING))
    def line_breaks_unnoticed(self, board: str) -> None:
        self.boards.broken.add(board)

    @precondition(lambda self: any(self.boards.unanswered.values()))
    @rule(board=st.sampled_from(BOARDS), ok=st.booleans(), repeats=st.integers(1, 2), newest=st.booleans())
    def answer(self, board: str, ok: bool, repeats: int, newest: bool) -> None:
        waiting = self.boards.unanswered[board]
        if not waiting:
            return
        command = waiting.pop(-1 if newest else 0)
        self.answered.setdefault(command, ok)
        for _ in range(repeats):
            event = DeviceAnswered(board, self.clock.now_ms(), {"id": command, "ok": ok})
            self.disk.submit([event, *self.dispatch.heard(self.dialect, board, event)])
        self.turn()

    # What happens

    @precondition(lambda self: self.disk.inbox)
    @rule(most=st.sampled_from([1, 2, 100]))
    def commit(self, most: int) -> None:
        self.disk.commit(most)
        self.turn()

    @precondition(lambda self: self.disk.inbox or len(self.dispatch.ledger))
    @rule(seconds=st.sampled_from([0.5, 3.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.dispatch.look()
        self.turn()

    @precondition(lambda self: len(self.disk.journal) >= self.crashed_at + 5)
    @rule()
    def crash(self) -> None:
        self.crashed_at = len(self.disk.journal)
        self.disk.inbox.clear()
        for task in self.tasks:
            task.cancel()
        self.turn()
        self.boards.online.clear()
        ledger = Ledger()
        ledger.load([command for command in self.fold().values() if not command.over], [])
        self.live(ledger)
        self.dispatch.begin()
        self.turn()

    # What is promised

    @invariant()
    def nothing_is_executed_twice_or_late_or_unasked(self) -> None:
        if not hasattr(self, "boards"):
            return
        executed = [command for _, command, _ in self.boards.executed]
        assert len(executed) == len(set(executed))
        ledger = self.fold()
        for board, command, at in self.boards.executed:
            assert ledger[command].device == board
            assert at < ledger[command].expires_at
            assert ledger[command].sent_at, "it left before the journal said so"

    @invariant()
    def in_the_order_asked_for(self) -> None:
        if not hasattr(self, "boards"):
            return
        asked = [event.id for event in self.disk.journal if isinstance(event, CommandQueued)]
        returned = {event.id for event in self.disk.journal if isinstance(event, CommandReturned)}
        for board in BOARDS:
            order = [command for at, command, _ in self.boards.executed if at == board and command not in returned]
            assert order == sorted(order, key=asked.index)

    @invariant()
    def the_ledger_tells_the_truth(self) -> None:
        if not hasattr(self, "boards"):
            return
        executed = {command for _, command, _ in self.boards.executed}
        for command in self.fold().values():
            if command.state == "confirmed":
                assert self.answered[command.id]
            elif command.state == "failed":
                assert self.answered[command.id] is False
            elif command.state in ("expired", "cancelled", "queued"):
                assert command.id not in executed
            ends = [one.state for one in command.transitions if one.state in ENDS]
            assert len(ends) <= 1

    @invariant()
    def memory_and_journal_agree(self) -> None:
        if not hasattr(self, "boards"):
            return
        open_ones = {command.id: command.state for command in self.fold().values() if not command.over}
        held = {one.id: one.state for board in BOARDS for one in self.dispatch.ledger.of(board)}
        assert held == open_ones

    def teardown(self) -> None:
        if not hasattr(self, "boards"):
            return
        # Everything ends: boards that answer get what waits, time takes the rest.
        self.boards.broken.clear()
        for _ in range(6):
            self.poll(4)
            for board in BOARDS:
                if board in LISTENING:
                    self.connect(board)
                while self.boards.unanswered[board]:
                    self.answer(board, True, 1, False)
            self.disk.commit(1_000)
            self.turn()
        self.time_passes(60.0)
        self.disk.commit(1_000)
        self.turn()
        self.time_passes(1.0)
        self.disk.commit(1_000)
        self.turn()
        try:
            assert [command.state for command in self.fold().values() if not command.over] == []
            sent = [event for event in self.disk.journal if isinstance(event, CommandSent)]
            ended = [event for event in self.disk.journal if isinstance(event, CommandEnded)]
            assert len({event.id for event in ended}) == len(ended)
            assert {command for _, command, _ in self.boards.executed} <= {event.id for event in sent}
        finally:
            for task in self.tasks:
                task.cancel()
            self.turn()
            self.loop.close()


TestCommanding = Commanding.TestCase
TestCommanding.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
