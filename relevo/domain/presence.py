"""Whether a device counts as online."""

from typing import Final

# Milliseconds of silence after which a device without a connection of its own is offline, per contract.
SILENCE_MS: Final = {"hidrometro": 60_000, "autocore": 90_000, "thingsnxt": 20_000}
_OTHERS_MS: Final = 60_000


def is_online(contract: str, connected: bool, last_seen: int, now: int) -> bool:
    """``last_seen`` and ``now`` in milliseconds UTC; 0 is never."""
    return connected or (last_seen > 0 and now - last_seen <= SILENCE_MS.get(contract, _OTHERS_MS))
