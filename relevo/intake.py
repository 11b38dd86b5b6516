"""From what a dialect understood to events about devices in the registry.

Shared by every endpoint, so that a reading means the same whether it came over MQTT or HTTP. Here it is decided
whose reading it is, whether an unknown sender is registered, shown as unclaimed or refused, and what of it has to be
told in the timeline.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from relevo.clock import Clock
from relevo.dialect import (
    Address,
    Alarm,
    Decoded,
    Description,
    Dialect,
    Introduces,
    Learns,
    NamesLoosely,
    RaisesAlerts,
)
from relevo.dispatch import Dispatch
from relevo.domain.devices import ID_PATTERN, LEARNED, Device, Registry, is_claimed
from relevo.domain.events import (
    AnyEvent,
    DeviceAnswered,
    DeviceChanged,
    DeviceEventReported,
    DeviceRegistered,
    TelemetryReceived,
    UnclaimedReading,
    UnclaimedSeen,
)
from relevo.domain.joining import Claims
from relevo.domain.keyring import Keyring
from relevo.domain.redelivery import Redeliveries
from relevo.domain.releases import Board
from relevo.domain.rollouts import Report
from relevo.errors import Invalid
from relevo.pairing import Pairing
from relevo.pipeline import Entry
from relevo.raw import Raw, exchange
from relevo.refusals import Refusals
from relevo.twins import Twins
from relevo.updates import Updates
from relevo.wire.topics import matches

# Registrations on their way to the disk; the registry itself follows commits only.
_PENDING_MOST: Final = 10_000
BLOCKED: Final = "blocked"
FIRST_MESSAGE: Final = "first message"
"""Who registered a device that did it by itself."""


class Room(Protocol):
    """What else a contract makes of readings. See :class:`relevo.meters.Meters`."""

    def known_as(self, said: str) -> str:
        """The external identity behind what a message calls its device."""

    def taken(self, device_id: str, reading: TelemetryReceived, acknowledged: bool) -> list[Entry]:
        """What to submit for a reading of a registered device; ``acknowledged`` when its sender hears that it is
        stored."""


class Intake:
    """One for the whole process, used on the event loop."""

    def __init__(
        self,
        registry: Registry,
        dialects: dict[str, Dialect],
        refusals: Refusals,
        clock: Clock,
        pairing: Pairing,
        claims: Claims,
        dispatch: Dispatch,
        twins: Twins,
        keyring: Keyring | None = None,
    ) -> None:
        """Without a ``keyring`` no token is right."""
        self._registry = registry
        self._keyring = keyring
        self._dialects = dialects
        self._refusals = refusals
        self._clock = clock
        self._pending: dict[tuple[str, str], str] = {}
        self._epoch = -1
        # By contract: the registry's epoch, and how many of its devices nobody has claimed.
        self._waiting: dict[str, tuple[int, int]] = {}
        self._pairing = pairing
        self._claims = claims
        self._dispatch = dispatch
        self._twins = twins
        # By contract.
        self.rooms: dict[str, Room] = {}
        self._doubts: dict[str, int] = {}
        # Somebody holds the key of a relay: registry id and channel.
        self.beat: Callable[[str, int], bool] = lambda device, channel: False
        # A client tells a device to switch a relay: registry id, channel, state, address; whether that is done for it.
        self.told: Callable[[str, int, bool | None, str], bool] = lambda device, channel, on, sender: False
        self.redeliveries = Redeliveries()
        # What boards are offered; the application says who keeps roll-outs.
        self.updates: Updates | None = None
        # Whether somebody watches what devices send; the application says who.
        self.raw: Raw | None = None
        # What a device raises, with its message; the application says who keeps alerts.
        self.raised: Callable[[str, Alarm], AnyEvent] | None = None

    @property
    def registration_open(self) -> bool:
        """By the switch, or while a pairing window is open."""
        return self._pairing.is_open

    def is_taken(self, topic: str) -> bool:
        """Whether a contract has the topic, in either direction."""
        return any(matches(one, topic) for dialect in self._dialects.values() for one in dialect.all_filters())

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

    def device(self, device: str) -> Device | None:
        """A registered device."""
        return self._registry.get(device)

    def dialect_of(self, device: str) -> Dialect | None:
        """The contract of a registered device."""
        found = self._registry.get(device)
        return self._dialects[found.contract] if found is not None else None

    def _own_only(self, dialect: Dialect, decoded: Decoded, speaker: str) -> None:
        """Refuse what a device with a credential of its own says in the name of another."""
        device = self._registry.get(speaker)
        own = device.external_id if device is not None else ""
        foreign = {external_id for external_id, _ in decoded.events if external_id != own}
        if not foreign:
            return
        if device is not None and device.contract == dialect.name and isinstance(dialect, NamesLoosely):
            # Another device may really be known by that name.
            meant = {
                one
                for one in foreign
                if dialect.may_be(one, device.attributes) and not self.device_id(dialect.name, one)
            }
            if meant:
                foreign -= meant
                _rename(decoded, meant, own)
        decoded.events = [pair for pair in decoded.events if pair[0] == own]
        for external_id in sorted(foreign):
            message = f"device {speaker!r} may not speak for {external_id[:64]!r}"
            decoded.refused.append((own, Invalid("not_its_own", message)))

    def _proven_only(self, contract: str, decoded: Decoded, speaker: str) -> None:
        """Refuse what comes without the right token; with a credential of its own a device may leave it out."""
        ((external_id, *_), *_) = decoded.events
        device = self._registry.find(contract, external_id)
        token = decoded.token or ""
        problem = Invalid("bad_credentials", f"{'wrong' if token else 'missing'} device_token")
        if device is None:
            problem = Invalid("device_unknown", f"no {contract} device {external_id[:64]!r}")
        elif self._fits(device, token) if token else speaker == device.id:
            return
        decoded.events = []
        decoded.refused = [(external_id, problem)]

    def _fits(self, device: Device, token: str) -> bool:
        secret = token.encode(errors="replace")
        return self._keyring is not None and self._keyring.fits(device, secret, self._clock.now_ms())

    def events(
        self,
        dialect: Dialect,
        decoded: Decoded,
        where: str,
        sender: str,
        speaker: str = "",
        acknowledged: bool = True,
    ) -> list[Entry]:
        """The events to submit for a decoded message; refusals and strangers are told on the way.

        ``sender`` is the network address, for the timeline; ``speaker`` the device that proved to be the one who
        says this, empty when nobody did: then whose it is stands in the message alone. ``acknowledged`` when the
        sender will hear that it is stored.
        """
        out: list[Entry] = []
        contract = dialect.name
        room = self.rooms.get(contract)
        if room is not None and not speaker:
            decoded.events = [(room.known_as(one), event) for one, event in decoded.events]
            decoded.refused = [(room.known_as(one), problem) for one, problem in decoded.refused]
            decoded.notices = [(room.known_as(one), kind, detail) for one, kind, detail in decoded.notices]
        if speaker:
            self._own_only(dialect, decoded, speaker)
        if decoded.token is not None and decoded.events:
            self._proven_only(contract, decoded, speaker)
        if self._claims.screenings:
            self._turn_away(contract, decoded, sender)
        if decoded.once is not None and decoded.events:
            self._first_only(contract, decoded)
        reporting = self._twins.reporting.get(contract, ())
        sighted: set[str] = set()
        for external_id, event in decoded.events:
            device = self.device_id(contract, external_id)
            if not device:
                if external_id in sighted and type(event) is not TelemetryReceived:
                    # One message is one sighting, whatever else it says; what it measures is shown.
                    continue
                sighted.add(external_id)
                device = self._stranger(dialect, external_id, event, out, sender)
                if not device:
                    continue
            event.device = device  # type: ignore[union-attr]
            if room is not None and type(event) is TelemetryReceived:
                out += room.taken(device, event, acknowledged)
            else:
                out.append(event)
            if type(event) is DeviceEventReported and self.raised is not None and isinstance(dialect, RaisesAlerts):
                alarm = dialect.alarm(event)
                if alarm is not None:
                    out.append(self.raised(device, alarm))
            if type(event) is DeviceAnswered or self._dispatch.ledger.has_open(device):
                out += self._dispatch.heard(dialect, device, event)
            if type(event) in reporting:
                out += self._twins.heard(dialect, device, event, where, sender)
        if decoded.said and isinstance(dialect, Learns):
            self._learn(dialect, decoded, speaker, out)
        if decoded.updates:
            self._update(contract, decoded, speaker, out)
        for external_id, channel in decoded.beats:
            device = self.device_id(contract, external_id)
            if device:
                self.beat(device, channel)
        for external_id, channel, on in decoded.switches:
            device = self.device_id(contract, external_id)
            decoded.taken = bool(device) and self.told(device, channel, on, sender)
        if decoded.notices:
            for external_id, kind, detail in decoded.notices:
                self._refusals.notice(self.device_id(contract, external_id), kind, detail)
        if decoded.refused:
            for external_id, problem in decoded.refused:
                self.refuse(contract, external_id, where, problem, sender)
        if self.raw is not None and self.raw.watched:
            self._note(contract, decoded, out)
        return out

    def _update(self, contract: str, decoded: Decoded, speaker: str, out: list[Entry]) -> None:
        """What boards ask and say of their firmware: only with a credential of their own."""
        proven = []
        for external_id, said in decoded.updates:
            device = self._registry.find(contract, external_id)
            if self.updates is None or device is None or device.id != speaker:
                message = "updates are for a device that proves who it is"
                decoded.refused.append((external_id, Invalid("update_unproven", message)))
                continue
            proven.append((external_id, said))
            if isinstance(said, Report):
                out += self.updates.heard(device, said)
            else:
                decoded.taken = True
                if isinstance(said, Board):
                    out += self.updates.looked(device, said)
        decoded.updates = proven

    def _note(self, contract: str, decoded: Decoded, out: list[Entry]) -> None:
        """Say which devices the request under way turned out to be about."""
        under_way = exchange.get()
        if under_way is not None:
            under_way.devices |= {getattr(one, "device", "") for one in out}
            under_way.devices |= {self.device_id(contract, one) for one, _ in decoded.refused}
            if decoded.refused:
                under_way.reason = decoded.refused[0][1].reason

    def _learn(self, dialect: Learns, decoded: Decoded, speaker: str, out: list[Entry]) -> None:
        """What devices are by what they say; remembered where it is something new."""
        contract = dialect.name  # type: ignore[attr-defined]
        for external_id, said in decoded.said:
            device = self._registry.find(contract, external_id)
            if device is None or speaker not in ("", device.id):
                continue
            before = self._doubts.get(device.id, 0)
            patch, doubts = dialect.learned(device.attributes, said, before)
            if doubts:
                self._doubts[device.id] = doubts
            elif before:
                del self._doubts[device.id]
            if patch:
                out.append(DeviceChanged(device.id, self._clock.now_ms(), {LEARNED: patch}, device.id))

    def _first_only(self, contract: str, decoded: Decoded) -> None:
        """What came before within a minute is acknowledged and stored once."""
        assert decoded.once is not None
        external_id, message_id, digest = decoded.once
        device = self.device_id(contract, external_id)
        if device and self.redeliveries.again(device, message_id, digest, self._clock.now_ms()):
            decoded.events = []
            decoded.notices = [(external_id, "redelivered", f"message {message_id} came before")]

    def refuse(self, contract: str, external_id: str, where: str, problem: Invalid, sender: str) -> None:
        """Tell that something an identity sent was refused."""
        device = self.device_id(contract, external_id)
        detail = problem.message if device else f"{contract} device {external_id or '(no id)'}: {problem.message}"
        self._refusals.refuse(device, where, problem.reason, detail, sender)

    def stranger(self, contract: str, external_id: str, reason: str, sender: str, payload: dict[str, Any]) -> None:
        """List somebody who is not in the registry, with why; of a blocked one nothing but that it came is kept."""
        standing = self._claims.standing(contract, external_id)
        if standing == BLOCKED:
            reason, payload = BLOCKED, {}
        now = self._clock.now_ms()
        self._refusals.unclaimed(UnclaimedSeen(contract, external_id, now, reason, sender, payload, standing=standing))

    def blocked(self, contract: str, external_id: str, sender: str) -> Invalid | None:
        """The refusal of a blocked stranger, whose coming is counted in the list; ``None`` for anybody else."""
        if self._claims.standing(contract, external_id) != BLOCKED or self.device_id(contract, external_id):
            return None
        self.stranger(contract, external_id, BLOCKED, sender, {})
        return Invalid(
            "blocked", f"{contract} device {external_id!r} is blocked: restore it in the list of unclaimed devices"
        )

    def _turn_away(self, contract: str, decoded: Decoded, sender: str) -> None:
        """What a blocked stranger says becomes a refusal: the door neither keeps, shows nor passes it on."""
        left = []
        away: dict[str, Invalid | None] = {}
        for external_id, event in decoded.events:
            if external_id not in away:
                away[external_id] = self.blocked(contract, external_id, sender)
            if away[external_id] is None:
                left.append((external_id, event))
        decoded.refused += [(external_id, problem) for external_id, problem in away.items() if problem is not None]
        decoded.events = left

    def _stranger(self, dialect: Dialect, external_id: str, event: AnyEvent, out: list[Entry], sender: str) -> str:
        contract = dialect.name
        reason = self._why_not(dialect, external_id)
        if not reason:
            device = self._registry.free_id(contract, external_id)
            self._pending[contract, external_id] = device
            said = dialect.introduction() if isinstance(dialect, Introduces) else Description()
            out.append(
                DeviceRegistered(
                    device,
                    contract,
                    external_id,
                    said.name or external_id,
                    said.type or "device",
                    self._clock.now_ms(),
                    by=FIRST_MESSAGE,
                    attributes=dict(said.attributes),
                )
            )
            return device
        values = event.values if isinstance(event, TelemetryReceived) else {}
        if isinstance(event, TelemetryReceived) and not self._claims.standing(contract, external_id):
            out.append(UnclaimedReading(contract, external_id, event.ts, event.source, event.received, event.values))
        self.stranger(contract, external_id, reason, sender, values)
        return ""

    def _why_not(self, dialect: Dialect, external_id: str) -> str:
        """Why a stranger does not enter the registry by its message; empty when it does."""
        if not external_id:
            return "identity_missing"
        if not dialect.self_registering:
            return "unclaimed"
        if not self.registration_open:
            return "registration_closed"
        if not self._room_for(dialect):
            return "unclaimed_full"
        if not ID_PATTERN.fullmatch(external_id):
            return "identity_unusable"
        if self._epoch != self._registry.epoch:
            self._epoch = self._registry.epoch
            self._pending = {key: device for key, device in self._pending.items() if self._registry.find(*key) is None}
        return "" if len(self._pending) < _PENDING_MOST else "registrations_busy"

    def _room_for(self, dialect: Dialect) -> bool:
        """Whether one more device of this contract may wait in the registry for somebody to claim it."""
        if not isinstance(dialect, Introduces):
            return True
        epoch, count = self._waiting.get(dialect.name, (-1, 0))
        if epoch != self._registry.epoch:
            count = sum(not is_claimed(one) for one in self._registry.of_contract(dialect.name))
            self._waiting[dialect.name] = self._registry.epoch, count
        on_the_way = (key for key in self._pending if key[0] == dialect.name and self._registry.find(*key) is None)
        return count + sum(1 for _ in on_the_way) < dialect.unclaimed_most


def _rename(decoded: Decoded, names: set[str], own: str) -> None:
    """What was said under one of ``names`` was said by ``own``."""
    decoded.events = [(own if one in names else one, event) for one, event in decoded.events]
    decoded.refused = [(own if one in names else one, problem) for one, problem in decoded.refused]
    decoded.notices = [(own if one in names else one, kind, detail) for one, kind, detail in decoded.notices]
