"""Random walks of three clients, held against what the standard says must and may arrive.

The model knows no broker. For each session it keeps *debts*: how often a message has to arrive at least and may
arrive at most. A message for several subscriptions of one session must come once, at the highest QoS, and may come
once for each of the others [MQTT-3.3.5-1 of 3.1.1, MQTT-3.3.4-2]; QoS 0 may get lost or come late, for nobody
acknowledges it; what a client did not answer must come again, with the same identifier and DUP, in the same order,
when it returns [MQTT-4.4.0-1]. Messages of one publisher on one topic at one QoS keep their order [MQTT-4.6.0-5].

Every walk has a number, which is the seed of its steps. ``RELEVO_MODEL_WALKS=1000`` takes that many new ones,
``RELEVO_MODEL_WALK=17`` that one alone; without either the same walks are taken every time, for twenty seconds at most.
"""

import contextlib
import itertools
import os
import random
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conformance.raw import PINGREQ
from tests.conformance.raw5 import Client, Packet, ack, connect5, publish5, serving

VERSIONS = (4, 5, 5)
TOPICS = ("a", "b", "a/b", "a/b/c")
FILTERS = ("a", "b", "a/b", "a/+", "+", "#", "a/#", "+/b/#")
# Longest wait for a message that has to come.
PATIENCE = 3.0
# Unanswered messages of a client; well below every broker's window.
HELD = 12

# How often each step is taken.
WEIGHTS = {
    "connect": 2,
    "leave": 2,
    "subscribe": 4,
    "unsubscribe": 1,
    "publish": 9,
    "publish_over_a_broken_line": 2,
    "receive": 4,
}
STEPS = 35
WALKS = 300
SECONDS = 20.0

_run = secrets.token_hex(3)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


def matches(filter_: str, topic: str) -> bool:
    """Section 4.7.1, for topics without ``$``."""
    wanted, levels = filter_.split("/"), topic.split("/")
    for n, level in enumerate(wanted):
        if level == "#":
            return True
        if n >= len(levels) or level not in ("+", levels[n]):
            return False
    return len(wanted) == len(levels)


# Topic, payload, retain flag and QoS of a delivery.
Key = tuple[str, bytes, bool, int]


@dataclass
class Debt:
    least: int = 0
    most: int = 0


@dataclass
class Session:
    persistent: bool
    subscriptions: dict[str, int] = field(default_factory=dict)
    debts: dict[Key, Debt] = field(default_factory=lambda: defaultdict(Debt))
    # By packet identifier, in the order of the standard: PUBLISH not answered, PUBREC answered but not PUBREL.
    unanswered: dict[int, Packet] = field(default_factory=dict)
    released: dict[int, Packet] = field(default_factory=dict)
    # What has to be sent again on this connection.
    again: list[int] = field(default_factory=list)
    release_again: list[int] = field(default_factory=list)
    # Messages up to this number may have been sent to a connection that did not read them.
    maybe_sent: int = 0
    # Number of the last message by topic, publisher, its QoS and the QoS of delivery.
    seen: dict[tuple[str, int, int, int], int] = field(default_factory=dict)
    # How many deliveries may be on their way since everything was read and answered.
    due: int = 0


class Slot:
    """One client identifier."""

    def __init__(self, client_id: str, version: int) -> None:
        self.client_id = client_id
        self.version = version
        self.line: Client | None = None
        self.session: Session | None = None
        self.ids = itertools.count(1)


class Walk:
    """One walk; ``steps`` is what was done so far, as text."""

    def __init__(self, port: int, number: int) -> None:
        self.port = port
        self.random = random.Random(number)
        self.steps: list[str] = []
        self.prefix = f"{_run}-{number}"
        self.slots = [Slot(f"{self.prefix}-{n}", version) for n, version in enumerate(VERSIONS)]
        # What may be kept for a topic; with one entry it must be.
        self.retained: dict[str, list[tuple[bytes, int]]] = {}
        # Messages of QoS 0, which the server may take later than anything sent after them by others.
        self.unconfirmed: deque[tuple[str, bytes]] = deque(maxlen=6)
        self.number = 0

    # Lines

    def line(self, slot: Slot) -> Client:
        """A connection of the slot, made if there is none."""
        if slot.line is None:
            self._connect(slot, slot.session is not None and slot.session.persistent)
        assert slot.line is not None
        return slot.line

    def _connect(self, slot: Slot, persistent: bool) -> None:
        older, slot.line = slot.line, None
        present = persistent and slot.session is not None and slot.session.persistent
        properties = {"session_expiry_interval": 3600} if persistent else {}
        if slot.version == 4:
            properties = {}
        line = Client(
            self.port,
            connect5(slot.client_id, clean=not persistent, version=slot.version, properties=properties),
            version=slot.version,
        )
        slot.line = line
        found = line.receive("CONNACK")
        assert found.reason == 0
        assert found.session_present is present, f"session present is {found.session_present}"
        if older is not None:
            with older:
                while older.packet():
                    pass
        if not present:
            slot.session = Session(persistent)
        session = slot.session
        assert session is not None
        session.again = list(session.unanswered)
        session.release_again = list(session.released)
        session.maybe_sent = self.number
        end = time.monotonic() + PATIENCE
        while (session.again or session.release_again) and time.monotonic() < end:
            self._take(slot, line.receive())
        self._round(slot)
        assert not session.again, f"not sent again: {session.again}"
        assert not session.release_again, f"PUBREL not sent again: {session.release_again}"

    def _drop(self, slot: Slot, polite: bool) -> None:
        line, slot.line = slot.line, None
        assert line is not None and slot.session is not None
        if polite:
            with line:
                line.send(b"\xe0\x00")
                while line.packet():
                    pass
        else:
            line.drop()
        if not slot.session.persistent:
            slot.session = None

    # Reading

    def _round(self, slot: Slot) -> int:
        """Read everything that is on its way; how many packets that were."""
        assert slot.line is not None
        slot.line.send(PINGREQ)
        count = 0
        while (found := slot.line.receive()).kind != "PINGRESP":
            self._take(slot, found)
            count += 1
        return count

    def _take(self, slot: Slot, found: Packet) -> None:
        session = slot.session
        assert session is not None
        if found.kind == "PUBREL":
            assert session.release_again and session.release_again[0] == found.packet_id, f"{found} out of turn"
            session.release_again.pop(0)
            return
        assert found.kind == "PUBLISH", f"unexpected {found}"
        if found.qos and found.packet_id in session.unanswered:
            assert session.again and session.again[0] == found.packet_id, f"{found} again, out of turn"
            session.again.pop(0)
            first = session.unanswered[found.packet_id]
            assert found.dup, "[MQTT-3.3.1-1]"
            assert (found.topic, found.payload, found.qos, found.retain) == (
                first.topic,
                first.payload,
                first.qos,
                first.retain,
            ), f"{found} instead of {first}"
            return
        assert found.packet_id not in session.released, f"{found} has the identifier of an open exchange"
        debt = session.debts.get((found.topic, found.payload, found.retain, found.qos))
        assert debt and debt.most > 0, f"nobody owes {found}"
        debt.least -= 1
        debt.most -= 1
        self._check_order(session, found)
        if found.qos:
            session.unanswered[found.packet_id] = found

    @staticmethod
    def _check_order(session: Session, found: Packet) -> None:
        if not found.payload:
            return
        publisher, qos, number = map(int, found.payload.split(b":"))
        assert not found.dup or number <= session.maybe_sent, f"{found} was never sent before"
        if not found.retain:
            way = (found.topic, publisher, qos, found.qos)
            assert session.seen.get(way, 0) <= number, f"{found} comes after {session.seen[way]} [MQTT-4.6.0-5]"
            session.seen[way] = number

    def _release(self, slot: Slot, packet_id: int) -> None:
        """PUBREC, and the PUBREL for it."""
        line, session = slot.line, slot.session
        assert line is not None and session is not None
        line.send(ack("PUBREC", packet_id))
        while (found := line.receive()).kind != "PUBREL":
            self._take(slot, found)
        assert found.packet_id == packet_id, f"{found} for {packet_id}"
        session.released[packet_id] = session.unanswered.pop(packet_id)

    def _answer(self, slot: Slot, most: int) -> None:
        """Finish up to ``most`` exchanges, in the order of their arrival."""
        line, session = slot.line, slot.session
        assert line is not None and session is not None
        for packet_id in list(session.released)[:most]:
            line.send(ack("PUBCOMP", packet_id))
            del session.released[packet_id]
        for packet_id, found in list(session.unanswered.items())[:most]:
            if found.qos == 1:
                line.send(ack("PUBACK", packet_id))
                del session.unanswered[packet_id]
            else:
                self._release(slot, packet_id)
                line.send(ack("PUBCOMP", packet_id))
                del session.released[packet_id]

    def _settle(self, slot: Slot) -> None:
        """Read and answer until nothing is owed any more."""
        session = slot.session
        assert session is not None
        end = time.monotonic() + PATIENCE
        while True:
            count = self._round(slot) + len(session.unanswered) + len(session.released)
            self._answer(slot, 1_000_000)
            if count:
                # One more round, so that the answers were read too.
                continue
            owed = [key for key, debt in session.debts.items() if debt.least > 0]
            if not owed:
                break
            assert time.monotonic() < end, f"{slot.client_id} never got {owed}"
            time.sleep(0.01)
        session.due = 0

    def _relieve(self) -> None:
        """Nobody falls so far behind that a window decides what he sees."""
        for slot in self.slots:
            if slot.session is not None and slot.line is not None and slot.session.due > HELD:
                self._settle(slot)

    # Owing

    def _owe(self, topic: str, payload: bytes, qos: int, certain: bool = True) -> None:
        for slot in self.slots:
            if slot.session is None:
                continue
            levels = sorted(min(qos, q) for f, q in slot.session.subscriptions.items() if matches(f, topic))
            for n, level in enumerate(reversed(levels)):
                debt = slot.session.debts[self._topic(topic), payload, False, level]
                debt.most += 1
                debt.least += bool(n == 0 and level and certain)
                slot.session.due += bool(level)

    def _topic(self, topic: str) -> str:
        return f"{self.prefix}/{topic}"

    def _keep(self, topic: str, payload: bytes, qos: int) -> None:
        before = self.retained.get(topic, [(b"", 0)]) if qos == 0 else []
        self.retained[topic] = [*before, (payload, qos)]

    # Steps

    def run(self) -> None:
        try:
            for which in range(len(self.slots)):
                self.step("connect", which=which, persistent=self.random.random() < 0.6)
            self.step("subscribe", which=0, filter_="#", qos=self.random.randrange(3))
            names, weights = zip(*WEIGHTS.items(), strict=True)
            for name in self.random.choices(names, weights, k=STEPS):
                self.step(name, which=self.random.randrange(len(self.slots)), **self._drawn(name))
            self.step("end")
        finally:
            self._clean_up()

    def step(self, name: str, **values: Any) -> None:
        self.steps.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})")
        getattr(self, name)(**values)

    def _drawn(self, name: str) -> dict[str, Any]:
        """Random values for the parameters of a step."""
        choice = self.random.choice
        qos, retain, topic = choice((0, 1, 2)), choice((False, True)), choice(TOPICS)
        match name:
            case "connect":
                return {"persistent": choice((False, True, True))}
            case "leave":
                return {"polite": choice((False, True))}
            case "subscribe":
                return {"filter_": choice(FILTERS), "qos": qos}
            case "unsubscribe":
                return {"filter_": choice(FILTERS)}
            case "publish":
                empty = retain and self.random.random() < 0.3
                return {"topic": topic, "qos": qos, "retain": retain, "empty": empty, "count": choice((1, 1, 2, 3))}
            case "publish_over_a_broken_line":
                after = choice(("PUBLISH", "PUBREC", "PUBREL"))
                return {"topic": topic, "qos": choice((1, 2)), "retain": retain, "after": after}
            case _:
                return {"how": choice(("nothing", "some", "pubrec", "all"))}

    def connect(self, which: int, persistent: bool) -> None:
        """Also over a connection that is open, which is a takeover."""
        self._connect(self.slots[which], persistent)

    def leave(self, which: int, polite: bool) -> None:
        if self.slots[which].line is not None:
            self._drop(self.slots[which], polite)

    def subscribe(self, which: int, filter_: str, qos: int) -> None:
        slot = self.slots[which]
        assert self.line(slot).subscribe((self._topic(filter_), qos)) == (qos,)
        session = slot.session
        assert session is not None
        session.subscriptions[filter_] = qos
        for topic, candidates in self.retained.items():
            for payload, kept in candidates if matches(filter_, topic) else ():
                level = min(qos, kept)
                debt = session.debts[self._topic(topic), payload, True, level]
                debt.most += bool(payload)
                debt.least += bool(payload and level and len(candidates) == 1)
                session.due += bool(level)
        for topic, payload in self.unconfirmed:
            if matches(filter_, topic):
                session.debts[self._topic(topic), payload, False, 0].most += 1

    def unsubscribe(self, which: int, filter_: str) -> None:
        slot = self.slots[which]
        self.line(slot).unsubscribe(self._topic(filter_))
        session = slot.session
        assert session is not None
        session.subscriptions.pop(filter_, None)
        # [MQTT-3.10.4-3]: what was not yet sent may or may not be.
        self._round(slot)
        for debt in session.debts.values():
            debt.least = 0

    def publish(self, which: int, topic: str, qos: int, retain: bool, empty: bool, count: int) -> None:
        slot = self.slots[which]
        line = self.line(slot)
        for _ in range(count):
            payload = b"" if empty else self._payload(which, qos)
            self._owe(topic, payload, qos)
            if qos == 0:
                self.unconfirmed.append((topic, payload))
            line.publish(self._topic(topic), payload, qos=qos, packet_id=next(slot.ids), retain=retain)
            if retain:
                self._keep(topic, payload, qos)
        self._relieve()

    def publish_over_a_broken_line(self, which: int, topic: str, qos: int, retain: bool, after: str) -> None:
        """The connection breaks during the exchange, which goes on in the next one."""
        slot = self.slots[which]
        line = self.line(slot)
        session = slot.session
        assert session is not None
        if not session.persistent:
            return
        payload = self._payload(which, qos)
        packet_id = next(slot.ids)

        def message(dup: bool) -> bytes:
            return publish5(
                self._topic(topic),
                payload,
                qos=qos,
                packet_id=packet_id,
                retain=retain,
                dup=dup,
                version=slot.version,
            )

        self._owe(topic, payload, qos)
        if qos == 1:
            # The server may have taken the first one.
            self._owe(topic, payload, qos, certain=False)
        line.send(message(False))
        if qos == 2 and after != "PUBLISH":
            assert line.until("PUBREC").packet_id == packet_id
            if after == "PUBREL":
                line.send(ack("PUBREL", packet_id))
        self._drop(slot, polite=False)
        if retain:
            self._keep(topic, payload, qos)
        self._connect(slot, True)
        line = self.line(slot)
        if qos == 1 or after == "PUBLISH":
            line.send(message(True))
            found = line.until("PUBACK" if qos == 1 else "PUBREC")
            assert (found.packet_id, found.reason < 0x80) == (packet_id, True)
        if qos == 2:
            line.send(ack("PUBREL", packet_id))
            assert line.until("PUBCOMP").packet_id == packet_id
        self._relieve()

    def receive(self, which: int, how: str) -> None:
        slot = self.slots[which]
        self.line(slot)
        session = slot.session
        assert session is not None
        if how == "all":
            self._settle(slot)
            return
        self._round(slot)
        if how == "some":
            self._answer(slot, 2)
            self._round(slot)
        elif how == "pubrec":
            for packet_id, found in list(session.unanswered.items()):
                if found.qos == 2:
                    self._release(slot, packet_id)

    def _payload(self, which: int, qos: int) -> bytes:
        self.number += 1
        return b"%d:%d:%d" % (which, qos, self.number)

    def end(self) -> None:
        """Everybody gets what is still owed, and nothing comes again."""
        for slot in self.slots:
            if slot.session is not None:
                self.line(slot)
                self._settle(slot)
                if slot.session.persistent:
                    self._drop(slot, polite=True)
                    self._connect(slot, True)
                    assert not slot.session.unanswered, f"again: {slot.session.unanswered}"

    def _clean_up(self) -> None:
        for slot in self.slots:
            if slot.line is not None:
                slot.line.drop()
            with (
                contextlib.suppress(AssertionError, OSError),
                Client.join(self.port, slot.client_id, version=slot.version) as line,
            ):
                for topic in self.retained:
                    line.publish(self._topic(topic), b"", qos=0, retain=True)
                line.send(b"\xe0\x00")


def test_mqtt_4_random_walks_deliver_what_they_must_and_nothing_else(port: int) -> None:
    if only := os.environ.get("RELEVO_MODEL_WALK"):
        numbers: Sequence[int] = [int(only)]
    elif many := os.environ.get("RELEVO_MODEL_WALKS"):
        numbers = [secrets.randbelow(1_000_000) + WALKS for _ in range(int(many))]
    else:
        numbers = range(WALKS)
    end = time.monotonic() + max(SECONDS, len(numbers) * SECONDS / WALKS)
    for number in numbers:
        walk = Walk(port, number)
        try:
            walk.run()
        except (AssertionError, OSError) as error:
            steps = "\n  ".join(walk.steps)
            raise AssertionError(f"walk {number}: {error}\n  {steps}") from error
        if time.monotonic() > end:
            break
