"""Recognising another protocol by its first bytes, for whoever connected to the wrong port."""

from typing import Final

_METHODS: Final = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PRI * ")
# TLS record of a ClientHello (RFC 8446, sections 5.1 and 4): handshake, version 3.x.
_TLS: Final = b"\x16\x03"


def spoken(first: bytes) -> str:
    """``http``, ``tls`` or ``mqtt`` for bytes that begin like it, empty for anything else."""
    if first.startswith(_METHODS):
        return "http"
    if first.startswith(_TLS):
        return "tls"
    # CONNECT, its length in one to four bytes, then the protocol's name.
    if first[:1] == b"\x10" and (b"\x00\x04MQTT" in first[2:12] or b"\x00\x06MQIsdp" in first[2:14]):
        return "mqtt"
    return ""
