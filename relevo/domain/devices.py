"""Devices and the registry: who exists, under which contract and which external identity."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRegistered, DeviceRemoved
from relevo.errors import FieldError, Invalid

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
NAME_LIMIT: Final = 128
CLAIMED: Final = "claimed"
"""Attribute of a device that was claimed without a person, on a network where that is allowed."""
CHANGEABLE: Final = frozenset({"name", "type", "tags", "attributes", "key_hash", "owner", "site", "external_id"})


LEARNED: Final = "learned"
"""Among the changes of a device: what it said of itself, merged into its attributes (RFC 7396)."""


class Device(msgspec.Struct, gc=False):
    """A registered device. ``(contract, external_id)`` is unique; ``registered_at`` in milliseconds UTC.

    ``registered_seq`` is the number of the event that registered it. ``owner`` is an account, empty for nobody's;
    ``site`` is where it stands, a group that can be shared as one.
    """

    id: str
    contract: str
    external_id: str
    name: str
    type: str
    registered_at: int
    key_hash: str = ""
    tags: list[str] = []
    attributes: dict[str, Any] = {}
    registered_seq: int = 0
    owner: str = ""
    site: str = ""


def is_claimed(device: Device) -> bool:
    """Whether somebody took it: a person, or anybody on a network where that needs no sign-in."""
    return bool(device.owner) or device.attributes.get(CLAIMED) is True


def patched(attributes: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``attributes`` after ``patch`` (RFC 7396)."""
    out = dict(attributes)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            before = out.get(key)
            out[key] = patched(before if isinstance(before, dict) else {}, value)
        else:
            out[key] = value
    return out


def check_id(text: str, field: str = "id") -> str:
    """``text`` when it can be a device id. Raises :class:`Invalid` otherwise.

    Ids become topic levels and file names, so nothing that means something there can be part of one.
    """
    if not isinstance(text, str) or not ID_PATTERN.fullmatch(text):
        message = f"{field} must be 1 to 64 characters of A-Z a-z 0-9 _ . : -"
        raise Invalid("id_invalid", message, [FieldError(field, message)])
    return text


def id_for(contract: str, external_id: str) -> str:
    """The registry id that a device of a foreign contract gets when nobody chooses one."""
    if contract == "native":
        return external_id
    readable = _NOT_IN_ID.sub("-", external_id).strip("-") or "device"
    if contract == "autocore":
        # The id is the board's MQTT user name, for which its firmware has 31 characters; its uuid ends in the MAC.
        return f"ac-{readable[-28:]}"
    return f"{contract}-{readable}"[:64]


class Registry:
    """All devices in memory, kept equal to the store by applying the events of every commit."""

    def __init__(self) -> None:
        self._by_id: dict[str, Device] = {}
        self._by_identity: dict[tuple[str, str], Device] = {}
        self._by_key: dict[str, str] = {}
        self._by_number: dict[int, Device] = {}
        # Raised by every change, so that whoever remembers an answer knows when to ask again.
        self.epoch = 0
        # With the epoch in which they were put in order.
        self._ordered: tuple[int, list[Device]] = (-1, [])
        self._named: tuple[int, list[Device]] = (-1, [])
        # Names that no device may get by itself, because somebody else comes to the MQTT door with them.
        self.reserved: Callable[[str], bool] = lambda name: False

    def __len__(self) -> int:
        return len(self._by_id)

    def load(self, devices: list[Device]) -> None:
        for device in devices:
            self._put(device)

    def get(self, device_id: str) -> Device | None:
        return self._by_id.get(device_id)

    def find(self, contract: str, external_id: str) -> Device | None:
        return self._by_identity.get((contract, external_id))

    def numbered(self, registered_seq: int) -> Device | None:
        """The device that this event registered."""
        return self._by_number.get(registered_seq)

    def of_contract(self, contract: str) -> list[Device]:
        """The devices of one contract, in the order in which they were registered."""
        found = [device for device in self._by_id.values() if device.contract == contract]
        return sorted(found, key=lambda device: device.registered_seq)

    def by_key(self, key_hash: str) -> str:
        """The id of the device with this key, empty for none."""
        return self._by_key.get(key_hash, "") if key_hash else ""

    def all(self) -> list[Device]:
        """Every device, ordered by id."""
        if self._ordered[0] != self.epoch:
            self._ordered = (self.epoch, sorted(self._by_id.values(), key=lambda device: device.id))
        return list(self._ordered[1])

    def by_name(self) -> list[Device]:
        """Every device, ordered by name without regard to case, and of one name by id."""
        if self._named[0] != self.epoch:
            self._named = (
                self.epoch,
                sorted(self.all(), key=lambda device: " ".join(device.name.casefold().splitlines())),
            )
        return list(self._named[1])

    def free_id(self, contract: str, external_id: str) -> str:
        """An id that no device has yet and that is nobody's name, derived from the identity."""
        wanted = free = id_for(contract, external_id)
        n = 1
        while free in self._by_id or self.reserved(free):
            n += 1
            free = f"{wanted[:58]}-{n}"
        return free

    def apply(self, event: AnyEvent, seq: int = 0) -> None:
        """Follow one event, whose number is ``seq``; events about other things change nothing."""
        if isinstance(event, DeviceRegistered):
            self._put(
                Device(
                    event.device,
                    event.contract,
                    event.external_id,
                    event.name,
                    event.type,
                    event.at,
                    event.key_hash,
                    event.tags,
                    event.attributes,
                    seq,
                    event.owner,
                    event.site,
                )
            )
        elif isinstance(event, DeviceChanged):
            device = self._by_id.get(event.device)
            if device is not None:
                changes = {name: value for name, value in event.changes.items() if name in CHANGEABLE}
                if LEARNED in event.changes:
                    changes["attributes"] = patched(device.attributes, event.changes[LEARNED])
                self._put(msgspec.structs.replace(device, **changes))
        elif isinstance(event, DeviceRemoved):
            device = self._by_id.pop(event.device, None)
            if device is not None:
                self._by_identity.pop((device.contract, device.external_id), None)
                self._by_key.pop(device.key_hash, None)
                self._by_number.pop(device.registered_seq, None)
                self.epoch += 1

    def _put(self, device: Device) -> None:
        before = self._by_id.get(device.id)
        if before is not None:
            self._by_key.pop(before.key_hash, None)
            self._by_identity.pop((before.contract, before.external_id), None)
        if device.key_hash:
            self._by_key[device.key_hash] = device.id
        self._by_id[device.id] = device
        if device.registered_seq:
            self._by_number[device.registered_seq] = device
        self._by_identity[(device.contract, device.external_id)] = device
        self.epoch += 1
