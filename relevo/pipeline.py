"""The one road: everything that changes anything passes through here.

Theory. Endpoints submit events on the event loop; they wait in one bounded inbox. A single writer thread takes all
that is there, commits it as one transaction and hands the batch back to the loop, which applies it to what is kept in
memory, shows it to the bus and only then tells every submitter. A batch is what arrived while the previous commit
ran: no timer, so a lone message waits for exactly one sync and a crowd shares one.

When a commit fails nobody is told anything: the same batch is tried again until it succeeds, the state says why
(:attr:`Pipeline.state`), and because the inbox is bounded the endpoints stop reading. A sender that gives up sends
again later; numbered readings are recognised then.
"""

import asyncio
import contextlib
import sqlite3
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relevo.bus import Bus
from relevo.clock import Clock
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceRemoved
from relevo.domain.records import RecordChange
from relevo.errors import QueueFull, StoreUnavailable
from relevo.log import get_logger
from relevo.store.checkpoints import Checkpointer
from relevo.store.writer import Batch, Writer
from relevo.wire.mqtt_state import Change

log = get_logger("relevo.pipeline")

# A transaction this large holds acknowledgements no longer than about the time of its sync.
_BATCH_EVENTS: Final = 8_192
# Refused for what it is: a constraint, a size, a type.
_POISON: Final = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})
_RETRY_FIRST_S: Final = 0.1
_RETRY_LONGEST_S: Final = 2.0
_LOOK_AT_LOG_EVERY: Final = 32
_LOG_LONG: Final = 24 * 1024 * 1024
_HELD_S: Final = 0.02
_HELD_MOST: Final = 10
_HELD_EVENTS: Final = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one submission: how many of its events were stored, and which (by position) were not."""

    stored: int
    duplicates: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


# Nearly every message is one of these, and nearly every one is stored whole.
_WHOLE: Final = (Outcome(0), Outcome(1), Outcome(2))

COMMIT_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
Done = Callable[[Any, Outcome], None]
Entry = AnyEvent | Change | RecordChange
# What is to be done in a transaction of its own, and who waits for how long it took.
_Upkeep = tuple[Callable[[sqlite3.Connection], None], "asyncio.Future[float]"]
_Item = tuple[Sequence[Entry], Done | None, Any]


@dataclass(slots=True)
class StoreState:
    """Health of the store. ``name`` is ok, full, locked, failing or damaged; ``since`` in milliseconds UTC."""

    name: str = "ok"
    detail: str = ""
    since: int = 0


@dataclass(slots=True)
class Counters:
    """Figures since start."""

    commits: int = 0
    events: int = 0
    duplicates: int = 0
    lost: int = 0
    failed_commits: int = 0
    # How long group commits took, with the last for whatever took longer than the longest; added to by the writer.
    commit_times: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS_S) + 1))
    commit_seconds: float = 0.0

    def committed_in(self, seconds: float) -> None:
        """A group commit took this long."""
        self.commit_times[bisect_left(COMMIT_BOUNDS_S, seconds)] += 1
        self.commit_seconds += seconds


def classify(error: sqlite3.Error) -> StoreState:
    """Name the trouble and say what helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreState("full", "no space left for the database: free some, it goes on by itself")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreState("locked", "another program holds the database: end it, it goes on by itself")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreState("damaged", f"the database file is damaged ({error}): stop, keep a copy, restore a backup")
    return StoreState("failing", f"the disk refuses to write ({error}): look at the system's log")


class Pipeline:
    """The road. Created and used on the event loop; owns the writer thread."""

    def __init__(
        self, writer: Writer, checkpointer: Checkpointer, registry: Registry, bus: Bus, clock: Clock, queue_events: int
    ) -> None:
        self._writer = writer
        self._checkpointer = checkpointer
        self._registry = registry
        self._bus = bus
        self._clock = clock
        self._queue_events = queue_events
        self._inbox: deque[_Item] = deque()
        self._upkeep: deque[_Upkeep] = deque()
        self._waiting = 0
        self._signal = threading.Event()
        # While it is set, the writer lets maintenance go before readings: there is next to no room on the disk. Whoever
        # sends waits a little longer, and nothing is refused.
        self.held = False
        self._held = 0
        self._kicked = False
        self._stop_asked = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="relevo-writer", daemon=True)
        self._room_wanted: list[Callable[[], None]] = []
        self._idle: asyncio.Event = asyncio.Event()
        self.state = StoreState()
        self.counters = Counters()
        self.committed_seq = 0
        # Whoever keeps records in memory; called on the loop, in the order of the commits.
        self.record_followers: list[Callable[[RecordChange], None]] = []
        # The same for events that change what is kept in memory (registry, ledger of commands).
        self.event_followers: list[Callable[[AnyEvent], None]] = []
        # device id -> its document (relevo.store.latest) as last committed
        self.documents: dict[str, bytes] = {}

    def start(self, documents: dict[str, bytes]) -> None:
        """Begin to take events. The writer must be open."""
        self._loop = asyncio.get_running_loop()
        self.documents = documents
        self.committed_seq = self._writer.next_seq - 1
        self._thread.start()

    async def drain(self, within_s: float) -> bool:
        """Wait until everything submitted is committed and told; False when that took longer."""
        try:
            async with asyncio.timeout(within_s):
                while self._waiting:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def abandon(self) -> None:
        """End the writer thread at once and without the loop, after a start that failed or a stop that is done."""
        self._stop_asked.set()
        self._signal.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    async def end(self) -> None:
        """End the writer thread. What is not committed by now stays unacknowledged."""
        self._stop_asked.set()
        self._signal.set()
        await asyncio.to_thread(self._thread.join, 1.0)

    @property
    def waiting(self) -> int:
        """Events that are not committed yet; a submission without any counts as one."""
        return self._waiting

    @property
    def full(self) -> bool:
        """No room: endpoints should stop reading until :meth:`when_room` calls."""
        return self._waiting >= self._queue_events

    @property
    def event_bytes(self) -> float:
        """About how many bytes an event takes in the journal."""
        return self._writer.bytes_written / max(self.counters.events, 1)

    @property
    def log_is_long(self) -> bool:
        """Whether the log is longer than it should be: it begins anew only in a moment in which nobody reads."""
        return self._checkpointer.beyond(_LOG_LONG)

    def when_room(self, call: Callable[[], None]) -> None:
        """Call back once, when the inbox has room again."""
        self._room_wanted.append(call)

    def submit(self, events: Sequence[Entry], done: Done | None = None, token: Any = None) -> None:
        """Put ``events`` on the road; after their commit ``done(token, outcome)`` runs on the event loop.

        Never refuses: an endpoint asks :attr:`full` before it reads on. No events is allowed and answers after
        everything submitted before.
        """
        self._inbox.append((events, done, token))
        self._waiting += len(events) or 1
        if not self._kicked:
            self._kicked = True
            # At the end of this round of the loop, so that a batch is all that this wake-up brought.
            assert self._loop is not None
            self._loop.call_soon(self._kick)

    async def accept(self, events: Sequence[Entry], within_s: float = 10.0) -> Outcome:
        """Submit and wait for the commit.

        Raises :class:`QueueFull` when there is no room and :class:`StoreUnavailable` when the commit did not come in
        time; the events may still be stored later in the second case.
        """
        if self.full:
            raise QueueFull("too much is waiting to be stored; try again in a moment")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self.submit(events, _resolve, future)
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            detail = self.state.detail or "the disk is slow"
            raise StoreUnavailable(f"not stored within {within_s:g} s: {detail}") from None

    async def maintain(self, work: Callable[[sqlite3.Connection], None]) -> float:
        """Run ``work`` on the writing connection as one transaction between two batches; the seconds that it took.

        Everybody who waits for an acknowledgement waits for it, too, so it has to be short. Raises what it raises, and
        then nothing of it was written; also ``sqlite3.Error``, and :class:`StoreUnavailable` when the writer has ended.
        """
        if self._stop_asked.is_set():
            raise StoreUnavailable("the server is stopping")
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._upkeep.append((work, future))
        self._signal.set()
        return await future

    def _kick(self) -> None:
        self._kicked = False
        self._signal.set()

    # The writer thread

    def _run(self) -> None:
        inbox = self._inbox
        commits = 0
        while True:
            self._signal.wait()
            self._signal.clear()
            while inbox or self._upkeep:
                if self._upkeep:
                    self._maintain(*self._upkeep.popleft())
                elif self._hold():
                    continue
                items: list[_Item] = []
                size = 0
                most = _HELD_EVENTS if self.held else _BATCH_EVENTS
                while inbox and size < most:
                    item = inbox.popleft()
                    items.append(item)
                    size += len(item[0]) or 1
                if items and not self._commit(items):
                    return
                commits += 1
                if commits % _LOOK_AT_LOG_EVERY == 0:
                    self._checkpointer.written()
                if self._checkpointer.rest_is_due():
                    self._checkpoint()
            if self._stop_asked.is_set():
                return

    def _hold(self) -> bool:
        """Wait a moment for maintenance instead of committing; not without end, so that readings always get through."""
        if not self.held or self._stop_asked.is_set() or self._held >= _HELD_MOST:
            self._held = 0
            return False
        self._held += 1
        self._signal.wait(_HELD_S)
        self._signal.clear()
        return True

    def _commit(self, items: list[_Item]) -> bool:
        """Commit ``items``, however long it takes, and hand them back to the loop; False when asked to stop.

        What the database refuses for what it is, not for how the disk is doing, may not hold everybody else up: the
        items are then committed in halves until it stands alone, and only it is lost, and told.
        """
        pause = _RETRY_FIRST_S
        while True:
            batch = Batch([event for item in items for event in item[0]])
            try:
                if batch.events:
                    began = self._clock.monotonic()
                    self._writer.write(batch, self._clock.now_ms())
                    self.counters.committed_in(self._clock.monotonic() - began)
            except Exception as error:
                cause = getattr(error, "orig", None) or error
                if not isinstance(cause, sqlite3.Error) or (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _POISON:
                    if len(items) > 1:
                        half = len(items) // 2
                        return self._commit(items[:half]) and self._commit(items[half:])
                    log.error("event_refused_by_the_store", error=f"{type(cause).__name__}: {str(cause)[:200]}")
                    batch = Batch(batch.events)
                    batch.lost = set(range(len(batch.events)))
                    return self._hand_back(items, batch)
                self._failed(cause)
            else:
                if self.state.name != "ok":
                    log.warning("store_recovered", after=self.state.name)
                    self.state = StoreState()
                return self._hand_back(items, batch)
            self._stop_asked.wait(pause)
            if self._stop_asked.is_set():
                return False
            pause = min(pause * 2, _RETRY_LONGEST_S)

    def _maintain(self, work: Callable[[sqlite3.Connection], None], future: "asyncio.Future[float]") -> None:
        assert self._loop is not None
        began = self._clock.monotonic()
        error: Exception | None = None
        try:
            if not future.cancelled():
                self._writer.maintain(work)
        except Exception as raised:
            error = raised
        took = self._clock.monotonic() - began
        # A closed loop has nobody left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_tell, future, took, error)

    def _hand_back(self, items: list[_Item], batch: Batch) -> bool:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._committed, items, batch)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            return False
        return True

    def _failed(self, error: sqlite3.Error) -> None:
        self.counters.failed_commits += 1
        state = classify(error)
        if state.name != self.state.name:
            state.since = self._clock.now_ms()
            self.state = state
            log.error("store_unavailable", state=state.name, detail=state.detail)
        if state.name in ("damaged", "failing"):
            self._writer.close()

    def _checkpoint(self) -> None:
        try:
            self._writer.checkpoint()
        except sqlite3.Error as error:
            log.warning("checkpoint_failed", error=str(error))

    # Back on the loop

    def _committed(self, items: list[_Item], batch: Batch) -> None:
        counters = self.counters
        counters.commits += 1
        counters.events += len(batch.kept)
        counters.duplicates += len(batch.duplicates)
        counters.lost += len(batch.lost)
        if batch.kept:
            self.committed_seq = batch.first_seq + len(batch.kept) - 1
        self.documents.update(batch.documents)
        for offset, event in batch.followed:
            self._registry.apply(event, batch.first_seq + offset)
            if type(event) is DeviceRemoved:
                self.documents.pop(event.device, None)
            self.follow(event)
        for change in batch.records:
            for follow in self.record_followers:
                follow(change)
        try:
            self._bus.publish(batch.first_seq, batch.kept, batch.volatile)
        except Exception as error:
            self._complain(error)
        if not batch.duplicates and not batch.lost:
            for events, done, token in items:
                stored = len(events)
                self._waiting -= stored or 1
                if done is not None:
                    try:
                        done(token, _WHOLE[stored] if stored < 3 else Outcome(stored))
                    except Exception as error:
                        self._complain(error)
        else:
            self._tell_exactly(items, batch)
        if self._room_wanted and self._waiting < self._queue_events // 2:
            wanted, self._room_wanted = self._room_wanted, []
            for call in wanted:
                call()
        if not self._waiting:
            self._idle.set()

    def follow(self, event: AnyEvent) -> None:
        """Tell whoever keeps something in memory equal to the store."""
        for tell in self.event_followers:
            try:
                tell(event)
            except Exception as error:
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Somebody who was told made a mistake; nobody else may feel it."""
        log.error("follower_failed", error=f"{type(error).__name__}: {error}", exc_info=error)

    def _tell_exactly(self, items: list[_Item], batch: Batch) -> None:
        start = 0
        for events, done, token in items:
            end = start + len(events)
            self._waiting -= len(events) or 1
            if done is not None:
                duplicates = tuple(n - start for n in range(start, end) if n in batch.duplicates)
                lost = tuple(n - start for n in range(start, end) if n in batch.lost)
                try:
                    done(token, Outcome(len(events) - len(duplicates) - len(lost), duplicates, lost))
                except Exception as error:
                    self._complain(error)
            start = end


def _resolve(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _tell(future: "asyncio.Future[float]", took: float, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(took)
