"""What bytes can make the decoder do: work in proportion to their number, and memory in proportion to their number.

Nothing here looks at a clock. Work is counted: executed instructions of ``relevo.wire``, and the bytes of every new
object that its functions hold, which is what instructions hide (a copy of the rest of a packet is one instruction).
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import relevo.wire
from relevo.wire import mqtt_packets as mqtt
from relevo.wire.mqtt_errors import MalformedPacket
from tests.conformance.raw import connect, packet, text
from tests.wire.handmade import packets, property_set

_LIMIT: Final = 268_435_460
_WIRE: Final = str(relevo.wire.__path__[0])
_FEW, _TIMES = 1_000, 8
# An instruction is some ten nanoseconds: 100 a byte keep a core busy with one megabyte a second at the very least.
_WORK, _WORK_A_BYTE = 3_000, 100
# The largest are filters: three bytes on the wire become an object with six fields.
_MEMORY, _MEMORY_A_BYTE = 16_384, 60
versions = pytest.mark.parametrize("version", [3, 4, 5])


def decode_all(data: bytes, version: int) -> None:
    pos = 0
    try:
        while (found := mqtt.decode(data, pos, len(data), version, _LIMIT)) is not None:
            pos = found[1]
    except MalformedPacket:
        return


def work(call: Callable[[], object], *known: object) -> int:
    """Instructions plus bytes of new objects while ``call`` runs; ``known`` objects cost nothing to hold."""
    count = 0
    # By identity, and held, so that no identity is used twice.
    seen: dict[int, Any] = {id(one): one for one in known}

    def look(values: Any) -> None:
        nonlocal count
        for one in values:
            if type(one) is tuple:
                look(one)
            elif type(one) in (bytes, bytearray, str) and id(one) not in seen:
                seen[id(one)] = one
                count += len(one)

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if event == "call":
            if not frame.f_code.co_filename.startswith(_WIRE):
                return None
            frame.f_trace_opcodes = True
        elif event == "opcode":
            count += 1
        elif event in ("line", "return"):
            look(frame.f_locals.values())
            look((arg,))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def memory(call: Callable[[], object]) -> int:
    """Most bytes held at a time while ``call`` runs, beyond what was held before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# What grows in a packet -> the packet with so many of them.
SHAPES: dict[str, Callable[[int], bytes]] = {
    "filters": lambda n: packet(0x82, b"\x00\x01\x00" + (text("ab") + b"\x00") * n),
    "empty filters": lambda n: packet(0x82, b"\x00\x01\x00" + b"\x00\x00\x00" * n),
    "filters to leave": lambda n: packet(0xA2, b"\x00\x01\x00" + text("ab") * n),
    "subscription identifiers": lambda n: packet(
        0x30, text("a") + property_set(*[("subscription_identifier", 300)] * n)
    ),
    "user properties": lambda n: packet(0x30, text("a") + property_set(*[("user_property", ("n", "v"))] * (n // 80))),
    "payload": lambda n: packet(0x30, text("a") + b"\x00" + b"x" * n),
    "topic": lambda n: packet(0x30, text("x" * n) + b"\x00"),
    "topic of wide characters": lambda n: packet(0x30, text("温" * n) + b"\x00"),
    "will": lambda n: connect("a", will=("t", b"x" * n, 0, False), level=4),
    "pings": lambda n: b"\xc0\x00" * n,
    "acknowledgements": lambda n: b"\x40\x02\x00\x01" * n,
    "messages": lambda n: packet(0x30, text("a") + b"\x00x") * n,
    "continued length": lambda n: b"\x30" + b"\x80" * n,
}
shapes = pytest.mark.parametrize("shape", SHAPES)


@shapes
def test_eight_times_the_bytes_are_no_more_than_eight_times_the_work(shape: str) -> None:
    few, many = SHAPES[shape](_FEW), SHAPES[shape](_FEW * _TIMES)
    decode_all(few, 5)
    once, more = work(lambda: decode_all(few, 5), few), work(lambda: decode_all(many, 5), many)
    assert once > 10
    assert more <= once * _TIMES * 1.05 + 100
    assert more <= _WORK + _WORK_A_BYTE * len(many)


def test_a_packet_that_arrives_byte_by_byte_is_looked_at_in_constant_time() -> None:
    def arriving(size: int) -> int:
        data = packet(0x30, text("a") + b"\x00" + b"x" * size)

        def arrive() -> None:
            for end in range(len(data)):
                assert mqtt.decode(data, 0, end, 5, _LIMIT) is None

        return work(arrive, data)

    assert arriving(_FEW * _TIMES) <= arriving(_FEW) * _TIMES * 1.05


@shapes
def test_what_a_packet_becomes_is_in_proportion_to_its_size(shape: str) -> None:
    data = SHAPES[shape](_FEW * _TIMES)
    assert memory(lambda: decode_all(data, 5)) <= _MEMORY + _MEMORY_A_BYTE * len(data)


@pytest.mark.parametrize("first", [0x10, 0x30, 0x82, 0xA2])
def test_an_announced_length_reserves_nothing(first: int) -> None:
    data = bytes((first,)) + b"\xff\xff\xff\x7f" + b"\x00" * 100
    assert memory(lambda: decode_all(data, 5)) < _MEMORY


def test_a_flood_of_long_topics_is_not_kept() -> None:
    def flood() -> None:
        for n in range(400):
            decode_all(packet(0x30, text(f"{n:05}" + "x" * 60_000)), 4)

    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        flood()
        assert tracemalloc.get_traced_memory()[0] - before < 1_000_000
    finally:
        tracemalloc.stop()


@versions
@given(data=st.binary(max_size=200))
@settings(max_examples=25)
def test_any_bytes_cost_in_proportion(version: int, data: bytes) -> None:
    within_bounds(data, version)


@versions
@given(data=st.data(), changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
@settings(max_examples=25)
def test_damaged_packets_cost_in_proportion(version: int, data: st.DataObject, changes: list[tuple[int, int]]) -> None:
    raw = bytearray(b"".join(one.data for one in data.draw(st.lists(packets(version), min_size=1, max_size=3))))
    for at, byte in changes:
        raw[at % len(raw)] = byte
    within_bounds(bytes(raw), version)


def within_bounds(data: bytes, version: int) -> None:
    assert work(lambda: decode_all(data, version), data) <= _WORK + _WORK_A_BYTE * len(data)
    assert memory(lambda: decode_all(data, version)) <= _MEMORY + _MEMORY_A_BYTE * len(data)
