"""Messages that come again because their acknowledgement was lost, known for a minute (contract emqx, section 3.1)."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

WINDOW_MS: Final = 60_000
_KEPT: Final = 20_000


class Redeliveries:
    """What came lately, by device, packet identifier and digest of the payload. Times in milliseconds UTC."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int, int], int] = OrderedDict()

    def load(self, known: Iterable[tuple[str, int, int, int]]) -> None:
        """Device, packet identifier, digest and time of what an earlier run stored."""
        for device, message_id, digest, at in sorted(known, key=lambda one: one[3]):
            self._seen[device, message_id, digest] = at

    def again(self, device: str, message_id: int, digest: int, now: int) -> bool:
        """Whether this came before, within the window; it is remembered if not."""
        key = (device, message_id, digest)
        seen = self._seen
        while seen and (len(seen) >= _KEPT or next(iter(seen.values())) + WINDOW_MS < now):
            seen.popitem(last=False)
        if key in seen:
            return True
        seen[key] = now
        return False
