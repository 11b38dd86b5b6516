"""How strangers become devices: codes printed on labels, and what an operator decided about an unclaimed one."""

import msgspec


class ClaimCode(msgspec.Struct, frozen=True):
    """A single-use code for one identity; ``id`` is its hash. Times in milliseconds UTC, 0 means never."""

    id: str
    contract: str
    external_id: str
    created_at: int
    expires_at: int = 0
    by: str = ""


class Screening(msgspec.Struct, frozen=True):
    """An unclaimed identity that an operator does not want to see (ignored) or to hear (blocked)."""

    id: str
    contract: str
    external_id: str
    standing: str
    by: str
    at: int


class PairingWindow(msgspec.Struct, frozen=True):
    """Until when devices may register without a token; ``by`` opened it. There is one at the most, with one ``id``."""

    id: str
    by: str
    opened_at: int
    closes_at: int


def identity_key(contract: str, external_id: str) -> str:
    """The ``id`` of a screening."""
    return f"{contract}\n{external_id}"
