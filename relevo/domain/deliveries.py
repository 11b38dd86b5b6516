"""Deliveries of a webhook: what is to be sent now, what waits, and how far everything is settled. Pure.

Theory. The journal is the queue. A webhook has a *position*: everything up to it was delivered, was not wanted, or has
a row of its own, because it failed or waits behind one that did. What was read beyond the position and is still on its
way is *fresh*; of what is settled beyond it the numbers are remembered (``ahead``), so that a restart sends none of it
again.

Deliveries of one device stand in a *lane* and leave one after the other. A failing head holds its lane back and nobody
else's. A lane that is full stops the reading, so that a receiver which is down leaves its share in the journal; only
when the receiver takes deliveries of others and refuses this one again and again do the further ones of that device
become dead letters.

Times are integer milliseconds UTC.
"""

import heapq
from collections import deque
from typing import Final, NamedTuple, TypeAlias

import msgspec

WAITING: Final = "waiting"
DEAD: Final = "dead"
DELIVERED: Final = "delivered"
FORGOTTEN: Final = "forgotten"
STATES: Final = (WAITING, DEAD, DELIVERED)

RETRY_LONGEST_MS: Final = 3_600_000
_RETRY_LEAST_MS: Final = 1_000
# No answer, too many requests, bad gateway, unavailable, gateway timeout: these speak of the receiver, of no device.
_OF_THE_RECEIVER: Final = frozenset({0, 429, 502, 503, 504})
# So often, and not by chance, as a receiver that stumbles now and then would.
_REFUSED_MOST: Final = 5
_ANSWER_MOST: Final = 1_024
_ERROR_MOST: Final = 300
# Settled numbers that are remembered beyond the position.
_AHEAD_MOST: Final = 2_000
# A position that moved this far past what nobody wanted is worth a commit.
_IDLE_MOST: Final = 5_000


class Delivery(msgspec.Struct, gc=False):
    """One event for one webhook. ``body`` stays the same through all attempts.

    ``taken_at`` is when it was read from the journal, ``next_at`` when the next attempt is due; 0 is never. ``status``,
    ``error`` and ``answer`` belong to the last attempt.
    """

    webhook: str
    seq: int
    device: str
    kind: str
    body: str
    taken_at: int
    state: str = WAITING
    attempts: int = 0
    last_at: int = 0
    next_at: int = 0
    status: int = 0
    error: str = ""
    answer: str = ""


class WebhookProgress(msgspec.Struct, frozen=True):
    """How far a webhook is; ``failing_since`` is 0 unless nothing was delivered since then."""

    id: str
    position: int
    ahead: list[int] = []
    failing_since: int = 0


class DeliveryKept(msgspec.Struct):
    """This delivery has a row, or another one than before."""

    delivery: Delivery


class DeliveryDropped(msgspec.Struct):
    """The delivery's row is gone: it arrived."""

    webhook: str
    seq: int


class DeliveriesForgotten(msgspec.Struct):
    """All rows of a webhook are gone, or those of ``state``, of which the newest ``keep`` stay."""

    webhook: str
    state: str = ""
    keep: int = 0


DeliveryChange: TypeAlias = DeliveryKept | DeliveryDropped | DeliveriesForgotten


class Attempt(NamedTuple):
    """What came of one attempt. ``status`` 0 means that nothing was answered; ``retry_after`` in milliseconds."""

    status: int
    error: str = ""
    answer: str = ""
    retry_after: int = 0
    # Not to be tried again, whatever its age.
    final: bool = False

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Bounds(NamedTuple):
    """What one webhook may hold; times in milliseconds."""

    give_up: int = 86_400_000
    retry_first: int = 10_000
    parallel: int = 8
    window: int = 256
    per_device: int = 500
    waiting: int = 2_000


def longest_pause(attempts: int, first: int) -> int:
    """The most that lies between attempt number ``attempts`` (from 1) and the next, milliseconds."""
    doubled: int = first * 2 ** min(attempts - 1, 30)
    return min(doubled, max(RETRY_LONGEST_MS, first))


def pause(attempts: int, first: int, jitter: float) -> int:
    """Exponential back-off with full jitter: ``jitter`` from [0, 1) chooses from all that is possible."""
    longest = longest_pause(attempts, first)
    return max(min(_RETRY_LEAST_MS, first), round(longest * jitter))


class _Lane:
    """The deliveries of one device; ``failing`` since which attempt of the webhook its head fails, 0 for not.

    ``refused`` is how often the receiver refused it again although it had taken deliveries of others meanwhile.
    """

    __slots__ = ("failing", "queue", "refused")

    def __init__(self) -> None:
        self.queue: deque[Delivery] = deque()
        self.failing = 0
        self.refused = 0


class Outbox:
    """The deliveries of one webhook. Whoever uses it reads, sends and commits; this only decides."""

    def __init__(self, progress: WebhookProgress, bounds: Bounds) -> None:
        self.id = progress.id
        self.read = progress.position
        self.failing_since = progress.failing_since
        self.quiet_until = 0
        # Attempts are counted, so that what came before what does not hang on a clock; what was loaded failed first.
        self._attempt = 1
        self._last_ok = 0
        self._bounds = bounds
        self._ahead = set(progress.ahead)
        self._fresh: set[int] = set()
        self._rows: set[int] = set()
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[str] = deque()
        self._later: list[tuple[int, str]] = []
        self._flying: set[str] = set()
        # Devices that were removed while something of theirs was being sent, and up to which event.
        self._gone: dict[str, int] = {}
        self._changes: list[DeliveryChange] = []
        self._moved = False
        self._saved = progress.position

    def __len__(self) -> int:
        return len(self._fresh) + len(self._rows)

    @property
    def rows(self) -> int:
        """How many wait with a row of their own."""
        return len(self._rows)

    @property
    def flying(self) -> int:
        return len(self._flying)

    @property
    def position(self) -> int:
        return min(self._fresh) - 1 if self._fresh else self.read

    def has_room(self) -> bool:
        """Whether to go on reading the journal."""
        bounds = self._bounds
        if len(self._fresh) >= bounds.window or len(self) >= bounds.waiting or len(self._ahead) >= _AHEAD_MOST:
            return False
        return not any(self._stops(lane) for lane in self._lanes.values()) if len(self) >= bounds.per_device else True

    # Reading

    def load(self, rows: list[Delivery]) -> None:
        """Take up what waited when the server ended; ``rows`` in the order of their numbers."""
        for one in rows:
            self._rows.add(one.seq)
            if one.seq > self.read:
                self._ahead.add(one.seq)
            self._join(one)
            lane = self._lanes[one.device]
            if one.attempts:
                lane.failing = 1

    def examine(self, seq: int, delivery: Delivery | None) -> Delivery | None:
        """Event ``seq`` was read; ``delivery`` is ``None`` when it is not wanted.

        The delivery comes back when it became a dead letter at once, because too many wait for its device.
        """
        self.read = seq
        if delivery is None or seq in self._ahead:
            return None
        lane = self._lanes.get(delivery.device)
        if lane is not None and self._full(lane) and not self._stops(lane):
            delivery.state = DEAD
            delivery.error = f"{len(lane.queue)} of this device wait behind one that fails, which is the limit"
            self._keep(delivery)
            return delivery
        if lane is not None and lane.failing:
            self._rows.add(seq)
            self._keep(delivery)
        else:
            self._fresh.add(seq)
        self._join(delivery)
        return None

    def skip_to(self, seq: int) -> None:
        """The journal has nothing before ``seq`` any more."""
        self.read = seq - 1
        self._moved = True

    def revive(self, delivery: Delivery, now: int) -> bool:
        """A dead letter is to be tried again, behind whatever waits for its device; whether it was not already."""
        if delivery.seq in self._rows:
            return False
        delivery.state, delivery.attempts, delivery.taken_at, delivery.next_at = WAITING, 0, now, 0
        self._rows.add(delivery.seq)
        self._keep(delivery)
        self._join(delivery)
        return True

    def forget_dead(self, keep: int) -> None:
        """Of the dead letters only the newest ``keep`` stay."""
        self._changes.append(DeliveriesForgotten(self.id, DEAD, keep))

    def forget(self, device: str, through: int) -> None:
        """``device`` is gone, and with it what waits of its events up to ``through``; what is being sent is, once."""
        lane = self._lanes.get(device)
        if lane is None:
            return
        self._gone[device] = through
        stays = deque([lane.queue[0]] if device in self._flying else [])
        for one in lane.queue:
            if not stays or one is not stays[0]:
                self._drop(one)
        lane.queue = stays
        if not stays:
            del self._lanes[device], self._gone[device]
            self._ready = deque(one for one in self._ready if one != device)
            self._later = [one for one in self._later if one[1] != device]
            heapq.heapify(self._later)

    # Sending

    def due(self, now: int) -> list[Delivery]:
        """What to attempt now; each has to be settled."""
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[1])
        found: list[Delivery] = []
        while now >= self.quiet_until and self._ready and len(self._flying) < self._bounds.parallel:
            device = self._ready.popleft()
            self._flying.add(device)
            found.append(self._lanes[device].queue[0])
        return found

    def next_at(self) -> int | None:
        """When something falls due, ``None`` when nothing does by itself."""
        times = [self._later[0][0]] if self._later else []
        if self._ready and len(self._flying) < self._bounds.parallel:
            times.append(0)
        return max(min(times), self.quiet_until) if times else None

    def settle(self, delivery: Delivery, attempt: Attempt, now: int, jitter: float) -> str:
        """An attempt is over: what the delivery is now."""
        lane = self._lanes[delivery.device]
        self._flying.discard(delivery.device)
        self._attempt += 1
        delivery.attempts += 1
        delivery.last_at, delivery.status = now, attempt.status
        delivery.error, delivery.answer = attempt.error[:_ERROR_MOST], attempt.answer[:_ANSWER_MOST]
        if attempt.ok:
            self._confirm(delivery, lane)
            return DELIVERED
        if not attempt.final:
            # What is final was decided by ourselves and says nothing about the receiver.
            lane.failing = lane.failing or self._attempt
            if self._last_ok > lane.failing and attempt.status not in _OF_THE_RECEIVER:
                lane.refused += 1
            self.failing_since = self.failing_since or now
        if attempt.retry_after:
            self.quiet_until = max(self.quiet_until, now + min(attempt.retry_after, self._bounds.give_up))
        if delivery.seq <= self._gone.get(delivery.device, 0):
            self._drop(delivery)
            lane.queue.popleft()
            lane.failing, lane.refused = 0, 0
            self._go_on(delivery.device, lane)
            return FORGOTTEN
        end = delivery.taken_at + self._bounds.give_up
        if attempt.final or now >= end:
            delivery.state, delivery.next_at = DEAD, 0
            self._rows.discard(delivery.seq)
            self._keep(delivery)
            lane.queue.popleft()
            self._hold_back(lane)
            self._go_on(delivery.device, lane)
            return DEAD
        wanted = now + pause(delivery.attempts, self._bounds.retry_first, jitter)
        # The last attempt is at the end itself; a receiver that asked for longer gets it.
        delivery.next_at = max(min(wanted, end), self.quiet_until)
        heapq.heappush(self._later, (delivery.next_at, delivery.device))
        self._rows.add(delivery.seq)
        self._keep(delivery)
        self._hold_back(lane)
        return WAITING

    def give_back(self, delivery: Delivery) -> None:
        """The attempt was broken off by ourselves: it did not happen."""
        self._flying.discard(delivery.device)
        self._ready.appendleft(delivery.device)

    def hurry(self) -> None:
        """Whatever waits for its next attempt is due now: the target changed."""
        self.quiet_until = 0
        self._ready.extend(device for _, device in self._later)
        self._later.clear()

    # Committing

    def unsaved(self) -> tuple[list[DeliveryChange], WebhookProgress] | None:
        """What has to be committed together, ``None`` for nothing; it counts as saved with this."""
        position = self.position
        if not self._changes and not self._moved and position - self._saved < _IDLE_MOST:
            return None
        return self._take(position)

    def rest(self) -> tuple[list[DeliveryChange], WebhookProgress]:
        """The same before an end, also when it is little."""
        return self._take(self.position)

    def _take(self, position: int) -> tuple[list[DeliveryChange], WebhookProgress]:
        self._ahead = {seq for seq in self._ahead if seq > position}
        changes, self._changes = self._changes, []
        self._moved, self._saved = False, position
        return changes, WebhookProgress(self.id, position, sorted(self._ahead), self.failing_since)

    # Inside

    def _full(self, lane: _Lane) -> bool:
        return len(lane.queue) >= self._bounds.per_device

    def _stops(self, lane: _Lane) -> bool:
        """Whether this lane stops the reading: full, and nothing says that only its own device is the trouble."""
        return self._full(lane) and lane.refused < _REFUSED_MOST

    def _join(self, delivery: Delivery) -> None:
        lane = self._lanes.get(delivery.device)
        if lane is None:
            lane = self._lanes[delivery.device] = _Lane()
            if delivery.next_at:
                heapq.heappush(self._later, (delivery.next_at, delivery.device))
            else:
                self._ready.append(delivery.device)
        lane.queue.append(delivery)

    def _confirm(self, delivery: Delivery, lane: _Lane) -> None:
        delivery.state = DELIVERED
        seq = delivery.seq
        if seq in self._rows:
            self._rows.discard(seq)
            self._changes.append(DeliveryDropped(self.id, seq))
        self._fresh.discard(seq)
        self._ahead.add(seq)
        self._moved = True
        if delivery.attempts > 1:
            # Whoever failed in the same outage need not wait for its turn.
            back = [one for one in self._later if self._lanes[one[1]].failing > self._last_ok]
            self._later = [one for one in self._later if one not in back]
            heapq.heapify(self._later)
            self._ready.extend(device for _, device in back)
        self._last_ok, self.failing_since = self._attempt, 0
        lane.failing, lane.refused = 0, 0
        lane.queue.popleft()
        self._go_on(delivery.device, lane)

    def _drop(self, delivery: Delivery) -> None:
        """It is not to be sent any more."""
        if delivery.seq in self._rows:
            self._rows.discard(delivery.seq)
            self._changes.append(DeliveryDropped(self.id, delivery.seq))
        self._fresh.discard(delivery.seq)
        self._ahead.add(delivery.seq)
        self._moved = True

    def _hold_back(self, lane: _Lane) -> None:
        """In a failing lane all have rows: were one fresh before others, a restart would put it behind them."""
        if lane.failing:
            for one in lane.queue:
                if one.seq in self._fresh:
                    self._rows.add(one.seq)
                    self._keep(one)

    def _go_on(self, device: str, lane: _Lane) -> None:
        if lane.queue:
            self._ready.append(device)
        else:
            del self._lanes[device]
            self._gone.pop(device, None)

    def _keep(self, delivery: Delivery) -> None:
        # A copy: the row is written later, in another thread.
        self._changes.append(DeliveryKept(msgspec.structs.replace(delivery)))
        self._fresh.discard(delivery.seq)
        self._ahead.add(delivery.seq)
