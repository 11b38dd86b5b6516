from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relevo.wire import mqtt_packets as mqtt
from relevo.wire.mqtt_packets import Kind
from relevo.wire.mqtt_session import Session
from relevo.wire.mqtt_state import Delivered, Message, Queued


def packets(raw: bytes, version: int = 4) -> list[mqtt.Packet]:
    found: list[mqtt.Packet] = []
    pos = 0
    while (one := mqtt.decode(raw, pos, len(raw), version, 10**6)) is not None:
        found.append(one[0])
        pos = one[1]
    assert pos == len(raw)
    return found


def message(number: int, qos: int = 2, retain: bool = False) -> Message:
    return Message(b"t", b"%d" % number, qos, retain)


NOW = 1_767_225_600_000


def new(window: int, max_queued: int, version: int = 4) -> Session:
    session = Session("c", "owner", version, max_queued, 10**6)
    session.window = window
    return session


def refused(session: Session, packet_id: int, qos: int) -> bytes | None:
    """A version 5 receiver answers with an error."""
    return session.acknowledged(Kind.PUBACK if qos == 1 else Kind.PUBREC, packet_id, True, NOW)


@dataclass
class Sent:
    """One delivery as the reference sees it."""

    number: int
    qos: int
    packet_id: int = 0
    released: bool = False


class Delivery(RuleBasedStateMachine):
    """Towards one client: a list of what waits, a list of what was sent, and nothing is anywhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.session = new(3, 4)
        # Kept, so that everything that happens is also written down.
        self.session.expiry = 3_600
        self.disk: dict[int, tuple[int, bool]] = {}
        self.connected = True
        self.window = 3
        self.inflight: list[Sent] = []
        self.queue: list[Sent] = []
        self.dropped = 0
        self.number = 0

    def sent(self, raw: bytes, *, again: bool = False) -> list[tuple[str, int, int]]:
        """What went over the wire; a PUBLISH for the first time takes its packet id in the reference."""
        found = []
        for one in packets(raw):
            if isinstance(one, mqtt.Ack):
                assert one.kind == Kind.PUBREL
                found.append(("release", one.packet_id, 0))
                continue
            assert isinstance(one, mqtt.Publish)
            assert one.topic == "t"
            assert one.packet_id
            known = next((entry for entry in self.inflight if entry.number == int(one.payload)), None)
            assert known is not None
            if known.packet_id == 0:
                assert not one.dup
                assert one.packet_id not in [entry.packet_id for entry in self.inflight]
                known.packet_id = one.packet_id
            else:
                assert again
                assert one.dup
            assert (one.qos, one.packet_id) == (known.qos, known.packet_id)
            found.append(("publish", one.packet_id, known.number))
        return found

    def fill(self) -> list[Sent]:
        """What the window takes from the queue now."""
        taken = []
        while self.queue and len(self.inflight) < self.window:
            taken.append(self.queue.pop(0))
            self.inflight.append(taken[-1])
        return taken

    @rule(qos=st.integers(1, 2))
    def deliver(self, qos: int) -> None:
        self.number += 1
        entry = Sent(self.number, qos)
        goes = self.connected and not self.queue and len(self.inflight) < self.window
        if goes:
            self.inflight.append(entry)
        else:
            if len(self.queue) == 4:
                self.queue.pop(0)
                self.dropped += 1
            self.queue.append(entry)
        raw = self.session.deliver(message(self.number), qos, False, [], self.connected, NOW)
        found = self.sent(raw)
        assert found == ([("publish", entry.packet_id, entry.number)] if goes else [])

    @rule(retain=st.booleans())
    def deliver_at_most_once(self, retain: bool) -> None:
        raw = self.session.deliver(message(0), 0, retain, [], self.connected, NOW)
        assert packets(raw) == ([mqtt.Publish("t", b"0", 0, retain, False, 0)] if self.connected else [])

    @precondition(lambda self: self.connected and self.inflight)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.inflight))
        if entry.qos == 2 and not entry.released:
            raw = self.session.acknowledged(Kind.PUBREC, entry.packet_id, False, NOW)
            entry.released = True
            assert raw is not None
            assert self.sent(raw) == [("release", entry.packet_id, 0)]
            return
        raw = self.session.acknowledged(Kind.PUBCOMP if entry.qos == 2 else Kind.PUBACK, entry.packet_id, False, NOW)
        self.over(entry, raw)

    @precondition(lambda self: self.connected and any(entry.released for entry in self.inflight))
    @rule(data=st.data())
    def receive_again(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.inflight if entry.released]))
        raw = self.session.acknowledged(Kind.PUBREC, entry.packet_id, False, NOW)
        assert raw is not None
        assert self.sent(raw) == [("release", entry.packet_id, 0)]

    @precondition(lambda self: self.connected and any(not entry.released for entry in self.inflight))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.inflight if not entry.released]))
        self.over(entry, refused(self.session, entry.packet_id, entry.qos))

    def over(self, entry: Sent, raw: bytes | None) -> None:
        self.inflight.remove(entry)
        taken = self.fill()
        assert raw is not None
        found = self.sent(raw)
        assert found == [("publish", one.packet_id, one.number) for one in taken]

    @rule(data=st.data(), kind=st.sampled_from([Kind.PUBACK, Kind.PUBREC, Kind.PUBCOMP]))
    def acknowledge_what_nobody_waits_for(self, data: st.DataObject, kind: Kind) -> None:
        wrong = {entry.packet_id for entry in self.inflight if (entry.qos == 2) == (kind == Kind.PUBACK)}
        unknown = set(range(1, 12)) - {entry.packet_id for entry in self.inflight}
        packet_id = data.draw(st.sampled_from(sorted(wrong | unknown)))
        assert self.session.acknowledged(kind, packet_id, False, NOW) is None

    @rule(unknown=st.integers(1, 65_535))
    def refuse_what_is_not_there(self, unknown: int) -> None:
        if unknown not in [entry.packet_id for entry in self.inflight]:
            assert refused(self.session, unknown, 1) is None

    @precondition(lambda self: self.connected)
    @rule()
    def go_away(self) -> None:
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule(window=st.integers(1, 5))
    def come_back(self, window: int) -> None:
        self.connected = True
        # What a smaller window does to redelivery is shown over sockets [MQTT-3.3.4-9].
        self.window = self.session.window = max(window, len(self.inflight))
        wanted = [
            ("release" if one.released else "publish", one.packet_id, 0 if one.released else one.number)
            for one in self.inflight
        ]
        taken = self.fill()
        found = self.sent(self.session.resume(NOW), again=True)
        assert found == wanted + [("publish", one.packet_id, one.number) for one in taken]

    @invariant()
    def everything_is_where_the_reference_has_it(self) -> None:
        assert [int(one.message.payload) for one in self.session.queue] == [one.number for one in self.queue]
        assert [(n, one.released) for n, one in self.session.inflight.items()] == [
            (one.packet_id, one.released) for one in self.inflight
        ]
        assert self.session.dropped == self.dropped
        assert len(self.session.queue) <= 4

    @invariant()
    def what_was_written_down_is_what_there_is(self) -> None:
        for change in self.session.take_changes():
            if isinstance(change, Queued):
                self.disk[change.delivery.n] = (change.delivery.packet_id, change.delivery.released)
            elif isinstance(change, Delivered):
                self.disk.pop(change.n, None)
        there = {one.n: (one.packet_id, one.released) for one in self.session.inflight.values()}
        there |= {one.n: (0, False) for one in self.session.queue}
        assert self.disk == there


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_session_that_may_keep_nothing_drops_and_counts_what_it_cannot_send() -> None:
    session = new(1, 0)
    assert session.deliver(message(1), 1, False, [], False, NOW) == b""
    assert session.dropped == 1
    assert session.deliver(message(2), 1, False, [], True, NOW) != b""
    assert session.deliver(message(3), 1, False, [], True, NOW) == b""
    assert session.dropped == 2
    assert session.acknowledged(Kind.PUBACK, 1, False, NOW) == b""


def test_mqtt_4_3_3_a_qos_2_message_is_unacknowledged_until_pubrec_whatever_else_comes() -> None:
    session = new(5, 5)
    session.deliver(message(1), 2, False, [], True, NOW)
    assert session.acknowledged(Kind.PUBCOMP, 1, False, NOW) is None
    (again,) = packets(session.resume(NOW))
    assert again == mqtt.Publish("t", b"1", 2, False, True, 1)


def test_packet_ids_go_round_and_pass_over_those_in_use() -> None:
    session = new(65_535, 0)
    given = []
    for n in range(65_535):
        (one,) = packets(session.deliver(message(n), 1, False, [], True, NOW))
        assert isinstance(one, mqtt.Publish)
        given.append(one.packet_id)
    assert sorted(given) == list(range(1, 65_536))
    session.acknowledged(Kind.PUBACK, 777, False, NOW)
    (one,) = packets(session.deliver(message(0), 1, False, [], True, NOW))
    assert isinstance(one, mqtt.Publish)
    assert one.packet_id == 777


def test_redelivery_keeps_retain_and_topic() -> None:
    session = new(2, 2)
    kept = Message("céu/1".encode(), b"v", 1, True)
    (first,) = packets(session.deliver(kept, 1, True, [], True, NOW))
    (again,) = packets(session.resume(NOW))
    assert first == mqtt.Publish("céu/1", b"v", 1, True, False, 1)
    assert again == mqtt.Publish("céu/1", b"v", 1, True, True, 1)


@pytest.mark.parametrize(("version", "ids", "echoed"), [(5, [3, 9], True), (5, [], False), (4, [3], False)])
def test_subscription_identifiers_are_echoed_to_version_5_only(version: int, ids: list[int], echoed: bool) -> None:
    plain = Message(b"t", b"v", 1, False, {"content_type": "x"} if version == 5 else None)
    session = new(1, 1, version)
    (one,) = packets(session.deliver(plain, 1, False, ids, True, NOW), version)
    assert isinstance(one, mqtt.Publish)
    assert (one.properties or {}).get("subscription_identifier") == (ids if echoed else None)
    # The message is shared by all receivers.
    assert "subscription_identifier" not in (plain.properties or {})
