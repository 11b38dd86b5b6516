"""From what a dialect understood to events about devices in the registry.

Shared by every endpoint, so that a reading means the same whether it came over MQTT or HTTP. Here it is decided
whose reading it is, whether an unknown sender is registered, shown as unclaimed or refused, and what of it has to be
told in the timeline.
"""

from typing import Final

from relevo.clock import Clock
from relevo.dialect import Address, Decoded, Dialect
from relevo.domain.devices import ID_PATTERN, Registry
from relevo.domain.events import AnyEvent, DeviceRegistered, TelemetryReceived, UnclaimedReading, UnclaimedSeen
from relevo.errors import Invalid
from relevo.refusals import Refusals

# Registrations on their way to the disk; the registry itself follows commits only.
_PENDING_MOST: Final = 10_000


class Intake:
    """One for the whole process, used on the event loop."""

    def __init__(self, registry: Registry, dialects: dict[str, Dialect], refusals: Refusals, clock: Clock) -> None:
        self._registry = registry
        self._dialects = dialects
        self._refusals = refusals
        self._clock = clock
        self._pending: dict[tuple[str, str], str] = {}
        self._epoch = -1
        # Set by the switch or while a pairing window is open.
        self.registration_open = False

    def address(self, topic: str) -> tuple[Dialect, Address] | None:
        """The contract that ``topic`` belongs to and what the topic says, or ``None``."""
        for dialect in self._dialects.values():
            address = dialect.address(topic)
            if address is not None:
                return dialect, address
        return None

    def device_id(self, contract: str, external_id: str) -> str:
        """The registry id of an identity, registered or about to be; empty for a stranger."""
        device = self._registry.find(contract, external_id)
        if device is not None:
            return device.id
        return self._pending.get((contract, external_id), "") if self._pending else ""

    def external_id(self, device: str) -> str:
        """The external identity of a registered device, empty for none."""
        found = self._registry.get(device)
        return found.external_id if found is not None else ""

    def own_only(self, decoded: Decoded, device: str) -> None:
        """Refuse what a device with a credential of its own says in the name of another."""
        own = self.external_id(device)
        foreign = [external_id for external_id, _ in decoded.events if external_id != own]
        if not foreign:
            return
        decoded.events = [pair for pair in decoded.events if pair[0] == own]
        for external_id in foreign:
            message = f"device {device!r} may not speak for {external_id[:64]!r}"
            decoded.refused.append((own, Invalid("not_its_own", message)))

    def events(self, dialect: Dialect, decoded: Decoded, where: str, sender: str) -> list[AnyEvent]:
        """The events to submit for a decoded message; refusals and strangers are told on the way.

        ``sender`` is the network address, for the timeline.
        """
        out: list[AnyEvent] = []
        contract = dialect.name
        for external_id, event in decoded.events:
            device = self.device_id(contract, external_id)
            if not device:
                device = self._stranger(dialect, external_id, event, out, sender)
                if not device:
                    continue
            event.device = device  # type: ignore[union-attr]
            out.append(event)
        if decoded.notices:
            for external_id, kind, detail in decoded.notices:
                self._refusals.notice(self.device_id(contract, external_id), kind, detail)
        if decoded.refused:
            for external_id, problem in decoded.refused:
                self.refuse(contract, external_id, where, problem, sender)
        return out

    def refuse(self, contract: str, external_id: str, where: str, problem: Invalid, sender: str) -> None:
        """Tell that something an identity sent was refused."""
        device = self.device_id(contract, external_id)
        detail = problem.message if device else f"{contract} device {external_id or '(no id)'}: {problem.message}"
        self._refusals.refuse(device, where, problem.reason, detail, sender)

    def _stranger(self, dialect: Dialect, external_id: str, event: AnyEvent, out: list[AnyEvent], sender: str) -> str:
        contract = dialect.name
        if dialect.self_registering and self.registration_open and ID_PATTERN.fullmatch(external_id):
            if self._epoch != self._registry.epoch:
                self._epoch = self._registry.epoch
                self._pending = {
                    key: device for key, device in self._pending.items() if self._registry.find(*key) is None
                }
            if len(self._pending) < _PENDING_MOST:
                device = self._registry.free_id(contract, external_id)
                self._pending[contract, external_id] = device
                out.append(
                    DeviceRegistered(
                        device, contract, external_id, external_id, "device", self._clock.now_ms(), by="first message"
                    )
                )
                return device
        values = event.values if isinstance(event, TelemetryReceived) else {}
        if isinstance(event, TelemetryReceived):
            out.append(UnclaimedReading(contract, external_id, event.ts, event.source, event.received, event.values))
        reason = "unclaimed" if not dialect.self_registering else "registration_closed"
        self._refusals.unclaimed(UnclaimedSeen(contract, external_id, self._clock.now_ms(), reason, sender, values))
        return ""
