"""MQTT 5.0 properties (section 2.2.2): which packet may carry which, in which type, and how often.

A property set is a plain dictionary by name. ``user_property`` is a list of pairs, ``subscription_identifier`` a
list of integers; every other property occurs at most once.
"""

from typing import Any, Final, TypeAlias

from relevo.wire.mqtt_errors import MalformedPacket, Reason, decode_text

Properties: TypeAlias = dict[str, Any]

_BYTE, _U16, _U32, _VARINT, _BINARY, _TEXT, _PAIR = range(7)

# A hostile packet of the largest size could carry a hundred thousand pairs; nobody reads more than a few.
MAX_USER_PROPERTIES: Final = 100

_WILL: Final = 0
_C, _CA, _P, _SUB, _SA, _UNSUB, _USA, _D, _A = 1, 2, 3, 8, 9, 10, 11, 14, 15
_ACKS = (4, 5, 6, 7)
_EVERYWHERE = (_C, _CA, _P, _WILL, *_ACKS, _SUB, _SA, _UNSUB, _USA, _D, _A)

# identifier: (name, type, packets that may carry it), table 2-4
_TABLE: Final[dict[int, tuple[str, int, tuple[int, ...]]]] = {
    0x01: ("payload_format_indicator", _BYTE, (_P, _WILL)),
    0x02: ("message_expiry_interval", _U32, (_P, _WILL)),
    0x03: ("content_type", _TEXT, (_P, _WILL)),
    0x08: ("response_topic", _TEXT, (_P, _WILL)),
    0x09: ("correlation_data", _BINARY, (_P, _WILL)),
    0x0B: ("subscription_identifier", _VARINT, (_P, _SUB)),
    0x11: ("session_expiry_interval", _U32, (_C, _CA, _D)),
    0x12: ("assigned_client_identifier", _TEXT, (_CA,)),
    0x13: ("server_keep_alive", _U16, (_CA,)),
    0x15: ("authentication_method", _TEXT, (_C, _CA, _A)),
    0x16: ("authentication_data", _BINARY, (_C, _CA, _A)),
    0x17: ("request_problem_information", _BYTE, (_C,)),
    0x18: ("will_delay_interval", _U32, (_WILL,)),
    0x19: ("request_response_information", _BYTE, (_C,)),
    0x1A: ("response_information", _TEXT, (_CA,)),
    0x1C: ("server_reference", _TEXT, (_CA, _D)),
    0x1F: ("reason_string", _TEXT, (_CA, *_ACKS, _SA, _USA, _D, _A)),
    0x21: ("receive_maximum", _U16, (_C, _CA)),
    0x22: ("topic_alias_maximum", _U16, (_C, _CA)),
    0x23: ("topic_alias", _U16, (_P,)),
    0x24: ("maximum_qos", _BYTE, (_CA,)),
    0x25: ("retain_available", _BYTE, (_CA,)),
    0x26: ("user_property", _PAIR, _EVERYWHERE),
    0x27: ("maximum_packet_size", _U32, (_C, _CA)),
    0x28: ("wildcard_subscription_available", _BYTE, (_CA,)),
    0x29: ("subscription_identifier_available", _BYTE, (_CA,)),
    0x2A: ("shared_subscription_available", _BYTE, (_CA,)),
}
_BY_NAME: Final = {name: (ident, kind) for ident, (name, kind, _) in _TABLE.items()}

# Section 3.1.2.11 and 3.3.2.3: these may not be zero.
_NOT_ZERO: Final = frozenset({"receive_maximum", "maximum_packet_size", "subscription_identifier"})
_FLAGS: Final = frozenset({"payload_format_indicator", "request_problem_information", "request_response_information"})


def _malformed(message: str, protocol: bool = False) -> MalformedPacket:
    return MalformedPacket(Reason.PROTOCOL_ERROR if protocol else Reason.MALFORMED_PACKET, message)


def _varint(data: bytes | bytearray, pos: int, end: int) -> tuple[int, int]:
    value = 0
    for n in range(4):
        if pos >= end:
            raise _malformed("packet ends inside a variable byte integer")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            return value, pos
    raise _malformed("variable byte integer with more than 4 bytes [MQTT-1.5.5-1]")


def decode_properties(data: bytes | bytearray, pos: int, end: int, kind: int) -> tuple[Properties | None, int]:
    """The property set at ``pos`` of a packet of type ``kind`` (0 for the will) and the position behind it.

    Raises :class:`relevo.wire.mqtt_errors.MalformedPacket`.
    """
    length, pos = _varint(data, pos, end)
    if length == 0:
        return None, pos
    stop = pos + length
    if stop > end:
        raise _malformed("properties longer than the packet")
    found: Properties = {}
    while pos < stop:
        ident, pos = _varint(data, pos, stop)
        entry = _TABLE.get(ident)
        if entry is None or kind not in entry[2]:
            raise _malformed(f"property 0x{ident:02x} does not belong into packet type {kind}")
        name, type_, _ = entry
        value, pos = _value(data, pos, stop, type_)
        if value == 0 and name in _NOT_ZERO:
            raise _malformed(f"{name} is 0", protocol=True)
        if name in _FLAGS and value not in (0, 1):
            raise _malformed(f"{name} is neither 0 nor 1", protocol=True)
        if name == "user_property":
            pairs = found.setdefault(name, [])
            if len(pairs) >= MAX_USER_PROPERTIES:
                raise _malformed(f"more than {MAX_USER_PROPERTIES} user properties", protocol=True)
            pairs.append(value)
        elif name == "subscription_identifier" and kind == _P:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise _malformed(f"{name} occurs twice", protocol=True)
        else:
            found[name] = value
    return found, pos


def _value(data: bytes | bytearray, pos: int, end: int, type_: int) -> tuple[Any, int]:
    if type_ == _VARINT:
        return _varint(data, pos, end)
    if type_ == _PAIR:
        name, pos = _value(data, pos, end, _TEXT)
        text, pos = _value(data, pos, end, _TEXT)
        return (name, text), pos
    size = {_BYTE: 1, _U16: 2, _U32: 4}.get(type_)
    if size is None:
        if pos + 2 > end:
            raise _malformed("packet ends inside a property")
        size = (data[pos] << 8) | data[pos + 1]
        pos += 2
    stop = pos + size
    if stop > end:
        raise _malformed("packet ends inside a property")
    raw = bytes(data[pos:stop])
    if type_ == _BINARY:
        return raw, stop
    if type_ == _TEXT:
        return decode_text(raw, "property"), stop
    return int.from_bytes(raw, "big"), stop


def encode_properties(properties: Properties | None) -> bytes:
    """A property set with its length in front."""
    if not properties:
        return b"\x00"
    out = bytearray()
    for name, value in properties.items():
        ident, type_ = _BY_NAME[name]
        for one in value if isinstance(value, list) else (value,):
            out.append(ident)
            out += _encode_value(one, type_)
    return _encode_varint(len(out)) + bytes(out)


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(out)


def _encode_value(value: Any, type_: int) -> bytes:
    if type_ == _VARINT:
        return _encode_varint(value)
    if type_ == _PAIR:
        return _encode_value(value[0], _TEXT) + _encode_value(value[1], _TEXT)
    if type_ in (_BINARY, _TEXT):
        raw: bytes = value.encode() if type_ == _TEXT else value
        return len(raw).to_bytes(2, "big") + raw
    return int(value).to_bytes({_BYTE: 1, _U16: 2, _U32: 4}[type_], "big")
