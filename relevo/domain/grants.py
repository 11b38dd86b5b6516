"""Whose device it is and with whom it is shared.

A device has one owner. A grant gives another person a look at it or its controls, either for the device itself or
for a group: everything at a site, everything with a tag. A device that leaves the group leaves the grant.
"""

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device


class Right(IntEnum):
    """What somebody may do with a device; a higher right includes the lower ones."""

    NONE = 0
    VIEW = 1
    CONTROL = 2
    OWN = 3


class Grant(msgspec.Struct, frozen=True):
    """``account`` may view or control everything that ``scope`` (device, site, tag) and ``value`` name."""

    id: str
    account: str
    scope: str
    value: str
    level: str
    by: str
    at: int

    def covers(self, device: Device) -> bool:
        if self.scope == "device":
            return device.id == self.value
        if self.scope == "site":
            return bool(self.value) and device.site == self.value
        return self.value in device.tags


def right_of(identity: Identity, device: Device, grants: Iterable[Grant]) -> Right:
    """What ``identity`` may do with ``device``; ``grants`` are that person's own.

    Nobody does more than their role: a viewer who owns a device looks at it.
    """
    if identity.role is Role.ADMINISTRATOR:
        return Right.OWN
    found = Right.OWN if device.owner == identity.name else Right.NONE
    if not found:
        for grant in grants:
            if grant.covers(device):
                found = max(found, Right.CONTROL if grant.level == "control" else Right.VIEW)
    return min(found, Right.VIEW) if identity.role is Role.VIEWER else found
