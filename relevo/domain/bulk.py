"""One command to many devices: who is meant, how fast, and when to stop.

Theory. A bulk command is a list of devices, fixed when it was asked for, that is worked through at ``rate``. Each gets
an ordinary command whose origin is ``bulk:ID`` and whose idempotency key is the same, so that a server that is started
again goes through the list once more and nobody is told twice. It ends as ``done``, is ``stopped`` when the share of
commands that did not succeed grows too large, or is ``cancelled`` by a person.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from relevo.domain.commands import CANCELLED, CONFIRMED, EXPIRED, FAILED, TIMED_OUT
from relevo.domain.devices import Device
from relevo.errors import FieldError, Invalid

RUNNING: Final = "running"
DONE: Final = "done"
STOPPED: Final = "stopped"
DEVICES_MOST: Final = 10_000
# Fewer outcomes say nothing about a share.
OUTCOMES_LEAST: Final = 5
BAD: Final = frozenset({FAILED, TIMED_OUT, EXPIRED})


class Selection(msgspec.Struct, frozen=True):
    """Devices by what they are: those that fit everything given. ``tags`` are all wanted."""

    devices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    type: str = ""
    site: str = ""

    @property
    def empty(self) -> bool:
        return not (self.devices or self.tags or self.type or self.site)

    def fits(self, device: Device) -> bool:
        return (
            (not self.devices or device.id in self.devices)
            and all(tag in device.tags for tag in self.tags)
            and (not self.type or device.type == self.type)
            and (not self.site or device.site == self.site)
        )


class Bulk(msgspec.Struct, gc=False):
    """One bulk command. ``rate`` in commands a second; ``stop_share`` of 1 never stops. ``refused`` says why by device.

    Times in milliseconds UTC, 0 is never.
    """

    id: str
    by: str
    name: str
    params: dict[str, Any]
    ttl_s: float
    rate: float
    stop_share: float
    devices: list[str]
    created_at: int
    state: str = RUNNING
    reason: str = ""
    ended_at: int = 0
    refused: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"bulk:{self.id}"


def chosen(selection: Selection, devices: Iterable[Device]) -> list[str]:
    """The ids of the devices that are meant, in their order. Raises :class:`Invalid`, naming the field."""
    if selection.empty:
        raise _wrong("selection", "needs devices, tags, type or site")
    found = [device.id for device in devices if selection.fits(device)]
    missing = sorted(set(selection.devices) - set(found))
    if missing:
        raise _wrong("devices", f"names {missing[0]!r}, which is none that fits and that you may control")
    if not found:
        raise _wrong("selection", "fits no device that you may control")
    if len(found) > DEVICES_MOST:
        raise _wrong("selection", f"fits {len(found)} devices, the limit is {DEVICES_MOST}")
    return found


def too_many_failed(bulk: Bulk, outcomes: dict[str, int]) -> str:
    """Why the rest is not asked for, empty while it may go on. ``outcomes`` counts commands by state."""
    bad = sum(n for state, n in outcomes.items() if state in BAD) + len(bulk.refused)
    ended = bad + outcomes.get(CONFIRMED, 0) + outcomes.get(CANCELLED, 0)
    if bulk.stop_share >= 1 or ended < min(OUTCOMES_LEAST, len(bulk.devices)) or bad / ended <= bulk.stop_share:
        return ""
    return f"{bad} of {ended} did not succeed, more than {bulk.stop_share:.0%}"


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("selection_invalid", f"{field} {message}", [FieldError(field, message, "selection_invalid")])
