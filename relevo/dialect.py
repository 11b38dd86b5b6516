"""What a dialect is: one contract as pure functions between wire values and events.

A dialect is a module in ``relevo.dialects`` (found by its presence, there is no registry to edit) with a module
attribute ``dialect`` that fulfils :class:`Dialect`. It never sees a socket, a store or a clock: the time of
arrival and the registry's answer are handed in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from relevo.domain.capabilities import Capability
from relevo.domain.commands import Command
from relevo.domain.events import AnyEvent
from relevo.domain.manifests import PieceWanted
from relevo.domain.releases import Board
from relevo.domain.rollouts import Report
from relevo.errors import Invalid


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic says: which contract, whose device (may be empty when the payload says it) and which channel."""

    contract: str
    external_id: str
    channel: str


@dataclass(slots=True)
class Decoded:
    """What a message amounts to. A bad item in a batch becomes a refusal and loses nothing else.

    ``events`` are pairs ``(external identity, event)`` with ``event.device`` empty: the intake puts the registry id
    in. ``refused`` are pairs of identity and problem. ``notices`` are ``(identity, kind, detail)`` of things worth a
    line in the timeline that lost nothing, such as ``("d1", "clock_boot_relative", "ts 184233 …")``. ``token`` is what
    the message proves itself with, empty when it has nothing; ``None`` where the contract asks for nothing. ``said``
    are pairs of identity and what the dialect :class:`Learns` from; ``beats`` are pairs of identity and the relay whose
    key somebody holds down, ``switches`` triples of identity, relay (0 for all) and whether it is to be on (``None``
    for the other way round): what a client tells a device by itself. ``updates`` are pairs of identity and what a
    board asks or says of its firmware (``docs/updates.md``).
    """

    events: list[tuple[str, AnyEvent]] = field(default_factory=list)
    refused: list[tuple[str, Invalid]] = field(default_factory=list)
    notices: list[tuple[str, str, str]] = field(default_factory=list)
    token: str | None = None
    said: list[tuple[str, Any]] = field(default_factory=list)
    beats: list[tuple[str, int]] = field(default_factory=list)
    switches: list[tuple[str, int, bool | None]] = field(default_factory=list)
    updates: list[tuple[str, Board | PieceWanted | Report]] = field(default_factory=list)
    # Set by the intake: the server does what the message wants, and nobody else may get it.
    taken: bool = False
    # Identity, MQTT packet identifier and digest: what a second delivery of the same message has in common with it;
    # ``None`` where the contract asks for nothing, or nothing tells them apart.
    once: tuple[str, int, int] | None = None


class Delivery(NamedTuple):
    """How a message came: its packet identifier (0 for none), quality of service and retain flag.

    ``bound`` says that who sent it proved to be the device which the topic means.
    """

    message_id: int = 0
    qos: int = 0
    retained: bool = False
    bound: bool = False


class Dialect(Protocol):
    """One contract. All functions are pure."""

    name: str
    # Whether an unknown device enters the registry by its first message while registration is open.
    self_registering: bool

    def filters(self) -> tuple[str, ...]:
        """MQTT topic filters of messages from devices to the server."""

    def all_filters(self) -> tuple[str, ...]:
        """Every topic filter of the contract, both directions: what an anonymous client of it may use."""

    def address(self, topic: str) -> Address | None:
        """Whose topic this is, or ``None`` when it is not of this contract. Cached per connection."""

    def normalise_id(self, external_id: str) -> str:
        """The form in which identities are compared. Raises :class:`relevo.errors.Invalid`."""

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Topic filters that a device of this contract may publish to, and those it may subscribe to."""

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        """Turn one message into events.

        Raises :class:`relevo.errors.Invalid` when the whole message is refused.
        """

    def options(self) -> dict[str, Any]:
        """The settings in force, for the reference page."""


@runtime_checkable
class KnowsDelivery(Protocol):
    """A dialect to which it matters how a message came."""

    def delivered(self, address: Address, payload: bytes, received_ms: int, delivery: Delivery) -> Decoded:
        """As :meth:`Dialect.decode`, for a live message."""


@runtime_checkable
class Denies(Protocol):
    """A dialect that takes some of a device's topic filters away again."""

    def denied_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Topic filters that a device may not publish to, and those it may not subscribe to, whatever it else may."""


@runtime_checkable
class Reserves(Protocol):
    """A dialect of whose topics some belong to the server alone, where a client has no account."""

    def open_filters(self) -> tuple[str, ...]:
        """Topic filters that a client without an account may publish to, in place of all."""


class Description(NamedTuple):
    """What a stranger says about itself; empty where it says nothing."""

    name: str = ""
    type: str = ""
    attributes: Mapping[str, Any] = MappingProxyType({})


@runtime_checkable
class Describes(Protocol):
    """A dialect whose strangers say what they are before they are let in."""

    def describe(self, payload: dict[str, Any]) -> Description:
        """What the payload of an unclaimed entry says about the device."""


@runtime_checkable
class NamesLoosely(Protocol):
    """A dialect whose messages need not name their device by the identity that the registry knows."""

    def may_be(self, said: str, attributes: Mapping[str, Any]) -> bool:
        """Whether ``said``, the identity in a message, contradicts nothing known of the device that proved to send it.

        ``attributes`` are the device's own, from the registry.
        """


@runtime_checkable
class Introduces(Protocol):
    """A self-registering dialect whose devices wait in the registry, claimed by nobody, until somebody takes them."""

    # How many may wait; whoever comes when there is no room is listed outside.
    unclaimed_most: int

    def introduction(self) -> Description:
        """What such a device is called until somebody knows better."""


@runtime_checkable
class Learns(Protocol):
    """A dialect that learns what a device is from what it publishes, and remembers it among its attributes."""

    def learned(self, attributes: Mapping[str, Any], said: Any, doubts: int) -> tuple[dict[str, Any], int]:
        """What ``said`` (of :attr:`Decoded.said`) changes of ``attributes`` (RFC 7396).

        ``doubts`` is what this returned last as its second part for the device, 0 at first.
        """


class Switch(NamedTuple):
    """A relay, counted from 1, goes on or off."""

    channel: int
    on: bool


class Alarm(NamedTuple):
    """What a device says somebody has to look at: ``severity`` is info, warning or critical, ``name`` what of its kind
    have in common."""

    severity: str
    name: str
    text: str
    values: dict[str, Any]


@runtime_checkable
class RaisesAlerts(Protocol):
    """A dialect whose devices raise alerts."""

    def alarm(self, event: AnyEvent) -> Alarm | None:
        """The alert that ``event`` raises, ``None`` for none."""


class Logged(NamedTuple):
    """A line of the status log; an empty ``status`` is the one before, and ``unknown`` where there is none."""

    status: str
    parameters: dict[str, Any]
    unknown: str = ""


@runtime_checkable
class LogsStatus(Protocol):
    """A dialect whose devices have a log of what they said, kept for a time."""

    def logged(self, event: AnyEvent) -> Logged | None:
        """The line that ``event`` adds to the log of its device; ``None`` for none."""


class Order(NamedTuple):
    """A command that the contract knows how to say.

    Commands of one ``lane`` wait for each other (empty: for none), ``answer_ms`` is how long the device has to answer,
    0 where the contract knows no answer.
    """

    params: dict[str, Any]
    lane: str = ""
    answer_ms: int = 0


class Said(NamedTuple):
    """An MQTT message to a device."""

    topic: str
    payload: bytes
    qos: int = 1


@runtime_checkable
class SpeaksOnTopics(Protocol):
    """A :class:`Commandable` dialect whose message depends on which of its topics the device listens on."""

    def say_on(self, topic: str, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        """The message for a command on ``topic``, one of the device's ``command_topics``: the best of them is first."""


class UpdateTopics(NamedTuple):
    """Where a board hears of updates."""

    manifest: str
    image: str


@runtime_checkable
class Updatable(Protocol):
    """A dialect whose devices get their firmware over MQTT (``docs/updates.md``)."""

    def update_topics(self, external_id: str) -> UpdateTopics:
        """Where such a device waits for the manifest and for pieces of the image."""


@runtime_checkable
class TellsOfUpdates(Protocol):
    """A :class:`Commandable` dialect that can tell a device to look for an update at once."""

    def update_order(self, release: str) -> tuple[str, dict[str, Any]]:
        """Name and parameters of the command."""


class Verdict(NamedTuple):
    """What something that a device said means for a command: ``state`` is ``confirmed`` or ``failed``."""

    state: str
    reason: str = ""
    result: Any = None


@runtime_checkable
class Commandable(Protocol):
    """A dialect whose devices can be told to do something. ``attributes`` are the device's own, from the registry."""

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        """Whether and how the contract says this. Raises :class:`relevo.errors.Invalid`, naming the field."""

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        """The message for a command that :meth:`order` let in."""

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        """Topics that a device of this contract listens on for its commands."""

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        """What ``event``, which the command's device caused, says about a command that was sent; mostly nothing."""


@runtime_checkable
class Capable(Protocol):
    """A dialect that says what its devices can do in words that all share (:mod:`relevo.domain.capabilities`)."""

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        """What a device with these attributes, of which these values are known, can do."""


@runtime_checkable
class Switchable(Protocol):
    """A :class:`Capable` dialect whose devices have relays or switches."""

    def turned(self, key: str, on: bool) -> dict[str, Any]:
        """What has to be desired of a device for its relay or switch ``key`` to be on or off."""


@runtime_checkable
class Hosts(Protocol):
    """A dialect whose clients can be shown relays and switches of other contracts as devices of theirs."""

    def switched(self, on: bool) -> Logged | None:
        """The line of the status log when such a one was switched; ``None`` where there is no such log."""


@runtime_checkable
class Reports(Protocol):
    """A dialect whose devices say what state they are in."""

    # Types of the events that say it.
    reporting: frozenset[type]

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        """What ``event`` says about the device's state, as a merge patch (RFC 7396); ``None`` for nothing."""


@runtime_checkable
class ReportsWhole(Protocol):
    """A :class:`Reports` dialect: values of these keys take the place of the former ones instead of being merged."""

    replaced: frozenset[str]


@runtime_checkable
class Proposes(Protocol):
    """A dialect whose devices say what they are to be, which counts until somebody claims them."""

    def proposed(self, event: AnyEvent) -> dict[str, Any] | None:
        """What ``event`` adds to the desired document; ``None`` for nothing."""


@runtime_checkable
class Desirable(Protocol):
    """A dialect whose devices hear what they are to be (:mod:`relevo.domain.twins`)."""

    # Whether a key that a device never reports has agreed once it was delivered.
    delivery_agrees: bool

    def desired_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        """Topics that a device of this contract listens on for it; none where it only asks over HTTP."""

    def desired_message(
        self, external_id: str, delta: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> Said:
        """The message with everything that the device has still to become.

        Raises :class:`relevo.errors.Invalid`, naming the field, for what the contract cannot say: asked before
        anything is taken.
        """


@runtime_checkable
class Polled(Protocol):
    """A :class:`Desirable` dialect whose devices fetch what they are to be, perhaps without saying who they are."""

    # What they report; of any other key a wish has agreed once it is stored, because nothing more will be heard of it.
    answered: frozenset[str]
    # Seconds in contact after which a wish has failed.
    agree_within_s: float


@runtime_checkable
class ReportsAmongReadings(Protocol):
    """A :class:`Reports` dialect whose telemetry holds state among measurements.

    What a reading says is state where :meth:`is_state` says so, and of keys of which something was desired: every other
    measurement would be a change of the reported document.
    """

    def is_state(self, key: str) -> bool:
        """Whether ``key`` is state whatever is desired."""


@runtime_checkable
class DesiredOneByOne(Protocol):
    """A :class:`Desirable` dialect whose messages hold one key each."""

    def desired_key(self, external_id: str, key: str, value: Any, at_ms: int) -> Said:
        """The message for one key, desired at ``at_ms`` (milliseconds UTC)."""


@runtime_checkable
class DesiredByCommand(Protocol):
    """A :class:`Commandable` dialect without words for a desired state: each key becomes a command of its own."""

    def desired_order(self, key: str, value: Any, attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and parameters of the command. Raises :class:`relevo.errors.Invalid`, naming the field."""


@runtime_checkable
class Switches(Protocol):
    """A :class:`Commandable` dialect whose devices have relays (:mod:`relevo.domain.relay_functions`)."""

    def switching(self, name: str, params: Mapping[str, Any]) -> Switch | None:
        """What the command (with the parameters of its :class:`Order`) does to a relay; ``None`` for another."""

    def relays_said(self, event: AnyEvent) -> dict[int, bool]:
        """What ``event`` says about relays."""

    def switch(self, channel: int, on: bool, function: str = "toggle") -> tuple[str, dict[str, Any]]:
        """Name and parameters of the command that switches a relay, for devices that are told of its function."""

    def relay_key(self, channel: int) -> str:
        """The key of a relay in the state that a device reports."""

    def relay_count(self, attributes: Mapping[str, Any]) -> int:
        """How many relays a device has."""

    def beat(self, external_id: str, channel: int, number: int, attributes: Mapping[str, Any]) -> Said | None:
        """That a key is held still, for devices that let go by themselves without it; ``None`` for others."""
