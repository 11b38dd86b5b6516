"""Devices in the eyes of contracts that are not theirs: what they can do, and as what they appear there.

Theory. Every dialect says in shared words what its devices can do (:mod:`relevo.domain.capabilities`). Switching is
desiring, whatever the contract, so whoever knows those words can switch anything. An *appearance* makes one relay or
switch a device of another contract on an administrator's request; it is rendered there from the device itself and holds
no state of its own.
"""

from collections.abc import Sequence
from typing import Any

from relevo.dialect import Capable, Dialect, Hosts, Switchable
from relevo.domain.capabilities import APPEARANCES_MOST, FIRST_NUMBER, SWITCHED, Appearance, Capability, is_on
from relevo.domain.devices import Device, Registry
from relevo.domain.events import AnyEvent, DeviceRemoved, ReportedChanged
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.twins import Twin, effective, reported_values
from relevo.errors import FieldError, Invalid, NotFound
from relevo.pipeline import Entry, Pipeline
from relevo.store.status_log import Line, of_appearance
from relevo.twins import Twins


class Appearances:
    """:meth:`apply` and :meth:`follow` see every commit."""

    def __init__(self, registry: Registry, dialects: dict[str, Dialect]) -> None:
        self._registry = registry
        self._dialects = dialects
        self._pipeline: Pipeline | None = None
        self._twins: Twins | None = None
        self.all: dict[int, Appearance] = {}
        # Replaced as a whole: the writer looks into it from its thread.
        self._of_device: dict[str, list[Appearance]] = {}

    def start(self, pipeline: Pipeline, twins: Twins) -> None:
        """The road leads here as well as away from here, so both are told afterwards."""
        self._pipeline, self._twins = pipeline, twins

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Appearance() as one):
                self.all[one.number] = one
            case Dropped(kind, key) if kind is Appearance:
                self.all.pop(int(key), None)
            case _:
                return
        found: dict[str, list[Appearance]] = {}
        for one in self.all.values():
            found.setdefault(one.device, []).append(one)
        self._of_device = found

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone takes its appearances along."""
        if isinstance(event, DeviceRemoved) and self._pipeline is not None:
            gone: list[RecordChange] = [Dropped(Appearance, one.id) for one in self.of_device(event.device)]
            if gone:
                self._pipeline.submit(gone)

    def lines(self, event: ReportedChanged) -> list[Line]:
        """What a change of reported state adds to the logs of a device's appearances."""
        found = []
        for one in self._of_device.get(event.device, ()):
            host, on = self._dialects[one.contract], is_on(event.values.get(one.key))
            logged = host.switched(on) if on is not None and isinstance(host, Hosts) else None
            if logged is not None:
                found.append(Line(of_appearance(one.id), event.at, logged))
        return found

    # Looking

    def of_device(self, device: str) -> Sequence[Appearance]:
        return self._of_device.get(device, ())

    def of_contract(self, contract: str) -> list[Appearance]:
        """In the order in which they were made."""
        return sorted((one for one in self.all.values() if one.contract == contract), key=lambda one: one.number)

    def next_number(self) -> int:
        """A number that none has."""
        return max(self.all, default=FIRST_NUMBER - 1) + 1

    def known(self, device: Device) -> dict[str, Any]:
        """The newest reading of every key, with what the device is, or is to be, over it."""
        assert self._twins is not None
        return self._twins.readings(device.id)[0] | effective(self._twins.get(device.id))

    def capabilities(self, device: Device, known: dict[str, Any]) -> list[Capability]:
        """What ``device`` can do; nothing where its contract does not say."""
        dialect = self._dialects[device.contract]
        return dialect.capabilities(device.attributes, known) if isinstance(dialect, Capable) else []

    def switches(self, device: Device, known: dict[str, Any]) -> dict[str, bool | None]:
        """Its relays and switches by key, and whether each is on; ``None`` while that is unknown."""
        found = self.capabilities(device, known)
        return {one.key: is_on(known.get(one.key)) for one in found if one.kind in SWITCHED}

    def reported_on(self, device: str, key: str) -> bool | None:
        """Whether a relay or switch is on as the device says."""
        assert self._twins is not None
        return is_on(reported_values(self._twins.get(device)).get(key))

    # Switching

    def wish(self, device: Device, key: str, on: bool) -> dict[str, Any]:
        """What is to be desired for ``key`` to be on or off. Raises :class:`NotFound` for what is no switch."""
        dialect = self._dialects[device.contract]
        if isinstance(dialect, Switchable) and key in self.switches(device, self.known(device)):
            return dialect.turned(key, on)
        message = f"{device.id!r} has no relay or switch {key!r}"
        raise NotFound(message)

    async def turn(self, device: Device, key: str, on: bool, by: str, more: Sequence[Entry] = ()) -> Twin:
        """Desire ``key`` to be on or off. Raises as :meth:`wish` and :meth:`relevo.twins.Twins.desire` do."""
        assert self._twins is not None
        return await self._twins.set(device.id, self.wish(device, key, on), by, more)

    def check(self, device: Device, key: str, contract: str) -> None:
        """Raises :class:`Invalid` for what cannot appear in ``contract``, or does already."""
        if contract == device.contract or not isinstance(self._dialects.get(contract), Hosts):
            hosts = sorted(name for name, one in self._dialects.items() if isinstance(one, Hosts))
            raise _wrong("contract", f"must be one of {', '.join(hosts)}, and not its own", "contract_unknown")
        if len(self.of_device(device.id)) >= APPEARANCES_MOST:
            raise _wrong("key", f"is one too many: at most {APPEARANCES_MOST} of a device appear", "key_taken")
        if key not in self.switches(device, self.known(device)):
            raise _wrong("key", f"must be a relay or switch of {device.id!r}", "key_unknown")
        if any(one.key == key and one.contract == contract for one in self.of_device(device.id)):
            raise _wrong("key", f"appears in contract {contract} already", "key_taken")


def _wrong(field: str, words: str, reason: str) -> Invalid:
    return Invalid(reason, f"{field} {words}", [FieldError(field, words, reason)])
