"""Events: what happened, in the past tense. They are the only thing the journal holds.

On disk an event is a MessagePack array ``[tag, field, field, …]`` (msgspec ``array_like``), so the order of
fields is the format: a field is only ever added at the end, with a default, and a tag is never used again for
something else.
"""

from typing import Any, Literal, TypeAlias

import msgspec

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | list[Any] | dict[str, Any]
TimeSource: TypeAlias = Literal["device", "server", "repaired"]


class Event(msgspec.Struct, array_like=True, tag_field="tag", gc=False):
    """Common ancestor, for typing alone."""


class TelemetryReceived(Event, tag="t"):
    """A device reported values.

    ``ts`` and ``received`` are milliseconds UTC, ``source`` says whose clock ``ts`` came from. ``device`` is the
    registry id. ``boot`` and ``seq`` name the reading when the device numbers them (deduplication).
    """

    device: str
    ts: int
    source: str
    received: int
    values: dict[str, Any]
    boot: int | None = None
    seq: int | None = None


class DeviceRegistered(Event, tag="dr"):
    """A device entered the registry. ``key_hash`` is empty for a device without a key."""

    device: str
    contract: str
    external_id: str
    name: str
    type: str
    at: int
    key_hash: str = ""
    by: str = ""
    tags: list[str] = []
    attributes: dict[str, Any] = {}
    owner: str = ""
    site: str = ""


class DeviceChanged(Event, tag="dm"):
    """Some of a device's properties changed; ``changes`` holds the new values by name."""

    device: str
    at: int
    changes: dict[str, Any]
    by: str = ""


class DeviceRemoved(Event, tag="dx"):
    """A device left the registry."""

    device: str
    at: int
    by: str = ""


class DeviceConnected(Event, tag="dc"):
    """A device opened a session; ``via`` is ``mqtt`` or ``http``."""

    device: str
    at: int
    via: str
    address: str = ""


class DeviceDisconnected(Event, tag="dd"):
    """A device's session ended; ``reason`` is a stable code such as ``closed`` or ``keep_alive``."""

    device: str
    at: int
    reason: str
    detail: str = ""


class PresenceChanged(Event, tag="pc"):
    """A device is there, or is not any more, by the rules of :mod:`relevo.domain.presence`.

    ``since`` is when it became so (milliseconds UTC); ``reason`` is ``connected``, ``heard``, ``silent``, ``status`` or
    how its connection ended.
    """

    device: str
    at: int
    online: bool
    since: int
    reason: str


class StateReported(Event, tag="sr"):
    """A device reported its state document."""

    device: str
    at: int
    state: dict[str, Any]


class SensorReading(msgspec.Struct, array_like=True, gc=False):
    """One value of one sensor, at ``at`` (milliseconds UTC); ``metadata`` is what else was said or is known of it."""

    sensor: int
    at: int
    value: float
    metadata: dict[str, Any] = {}


class SensorsRead(Event, tag="lr"):
    """Sensors of a device of contract emqx were read: a row for each in :mod:`relevo.store.readings`.

    ``readings`` is empty where nothing of it is to be kept. ``message_id`` is the MQTT packet identifier, -1 for what
    did not come over MQTT; ``digest`` is what two deliveries of the same payload have in common. ``unassigned`` are
    values of keys that no sensor of the device has.
    """

    device: str
    at: int
    readings: list[SensorReading]
    message_id: int = -1
    qos: int = 0
    retained: bool = False
    digest: int = 0
    unassigned: dict[str, Any] = {}


class StatusSet(Event, tag="ss"):
    """Somebody set the status of a device over its contract, in the device's stead.

    ``status`` and ``parameters`` are what it has by that; the configuration that it fetches is :class:`DesiredChanged`.
    """

    device: str
    at: int
    status: str
    parameters: dict[str, Any] = {}
    by: str = ""


class DeviceEventReported(Event, tag="er"):
    """A device told about something that happened to it."""

    device: str
    at: int
    event: dict[str, Any]


class DeviceAnswered(Event, tag="an"):
    """A device answered a command."""

    device: str
    at: int
    answer: dict[str, Any]


class CommandQueued(Event, tag="cq"):
    """Somebody asked a device to do something, and it was taken into the ledger (:mod:`relevo.domain.commands`).

    ``expires`` is the time (milliseconds UTC) after which it must not leave any more. ``by`` is an account, ``origin``
    what asked on its behalf (``user``, ``schedule:ID``, ``rule:ID``, ``bulk:ID``, ``contract:NAME``). ``answer_ms`` is
    how long the device has to answer, 0 when it never does. ``redeliver`` allows to send it again while nothing tells
    that it arrived.
    """

    device: str
    id: str
    at: int
    name: str
    params: dict[str, Any]
    by: str
    origin: str
    expires: int
    key: str = ""
    lane: str = ""
    answer_ms: int = 0
    redeliver: bool = False


class CommandSent(Event, tag="cs"):
    """A command leaves for the device; committed before its first byte does. ``deadline`` is 0 for no answer."""

    device: str
    id: str
    at: int
    via: str
    deadline: int


class CommandReturned(Event, tag="cr"):
    """A command marked as sent is queued again: it never left, or may be sent a second time."""

    device: str
    id: str
    at: int
    reason: str


class CommandArrived(Event, tag="ca"):
    """The device's MQTT client acknowledged a command: it is there, nothing is known about its execution."""

    device: str
    id: str
    at: int


class CommandEnded(Event, tag="ce"):
    """A command is over: ``state`` is confirmed, failed, timed_out, expired or cancelled."""

    device: str
    id: str
    at: int
    state: str
    reason: str = ""
    result: Any = None


class DesiredChanged(Event, tag="wd"):
    """Somebody desired something of a device (:mod:`relevo.domain.twins`).

    ``values`` are new wishes by key, ``removed`` are keys that nothing is desired of any more; ``version`` is what the
    document has by that. ``by`` is an account, or what asked on its behalf (``rule:ID``, ``schedule:ID``).
    """

    device: str
    at: int
    version: int
    values: dict[str, Any]
    removed: list[str] = []
    by: str = ""


class DesiredAgreed(Event, tag="wa"):
    """A device is as it was desired: ``reason`` is ``reported``, or ``delivered`` for keys that are never reported."""

    device: str
    at: int
    keys: list[str]
    reason: str = "reported"


class DesiredFailed(Event, tag="wf"):
    """A device was in contact for long enough and did not become as desired.

    ``values`` are the wishes, ``reported`` what it says instead, by key; a key it says nothing of is missing there.
    """

    device: str
    at: int
    keys: list[str]
    values: dict[str, Any] = {}
    reported: dict[str, Any] = {}


class ReportedChanged(Event, tag="rc"):
    """The state that a device reports is another than before; ``version`` is what the document has by that."""

    device: str
    at: int
    version: int
    values: dict[str, Any]
    removed: list[str] = []
    by: str = ""


class UnclaimedSeen(Event, tag="us"):
    """Something spoke a contract without being in the registry. ``payload`` is the decoded reading.

    ``standing`` is ``ignored`` for one that an operator put aside and ``blocked`` for one that is not heard: then the
    ``payload`` is empty.
    """

    contract: str
    external_id: str
    at: int
    reason: str
    address: str = ""
    payload: dict[str, Any] = {}
    count: int = 1
    standing: str = ""


class UnclaimedReading(Event, tag="ur"):
    """Values from something that is not in the registry: shown live, never journalled."""

    contract: str
    external_id: str
    ts: int
    source: str
    received: int
    values: dict[str, Any]


class ReadingShown(Event, tag="rs"):
    """Values from a registered device that are shown live and kept nowhere (:mod:`relevo.domain.meters`).

    Fields as in :class:`TelemetryReceived`.
    """

    device: str
    ts: int
    source: str
    received: int
    values: dict[str, Any]


class Refused(Event, tag="rf"):
    """Something was not let in, with the reason. ``device`` is empty when it concerns the door itself.

    ``count`` is how often the same happened since the last such event.
    """

    device: str
    at: int
    where: str
    reason: str
    detail: str
    address: str = ""
    count: int = 1


class Noticed(Event, tag="no"):
    """Something worth a line in the story of a device that lost nothing: a clock repaired, a duplicate skipped."""

    device: str
    at: int
    kind: str
    detail: str
    count: int = 1


class RuleFired(Event, tag="rof"):
    """A rule became true of a device.

    ``reading_at`` is the time of what made it so, ``since`` when that began (milliseconds UTC); ``values`` are the
    newest of those that its condition names. ``late`` says that it was learned of too late to act on the device.
    """

    device: str
    at: int
    rule: str
    name: str
    reading_at: int
    since: int
    values: dict[str, Any] = {}
    late: bool = False


class RuleCleared(Event, tag="roc"):
    """A rule that had fired is no longer true of a device; ``reading_at`` as in :class:`RuleFired`."""

    device: str
    at: int
    rule: str
    name: str
    reading_at: int


class AlertChanged(Event, tag="al"):
    """An alert is as it says here, after ``change``; see :mod:`relevo.domain.alerts` for both vocabularies.

    ``by`` and ``note`` belong to the change; ``rules`` are those that keep it up.
    """

    device: str
    at: int
    id: str
    change: str
    state: str
    severity: str
    text: str
    owner: str
    key: str
    rule: str
    name: str
    opened_at: int
    count: int = 1
    ended_at: int = 0
    auto_clear: bool = True
    rules: list[str] = []
    values: dict[str, Any] = {}
    by: str = ""
    note: str = ""


class WebhookAsked(Event, tag="wh"):
    """A rule, or whoever ``by`` names, wants ``body`` delivered to the webhook with the id ``webhook``.

    It goes there whatever kinds that webhook asks for; ``device`` is what it is about, empty for nothing.
    """

    device: str
    at: int
    webhook: str
    by: str
    body: dict[str, Any] = {}


class Audited(Event, tag="au"):
    """Somebody did something that has to be answerable for. ``by`` is an account, a device or the program itself.

    ``action`` is a stable name such as ``device.create``, ``target`` what it was done to, ``outcome`` ``done`` or
    ``refused``. No secret is ever part of ``detail``.
    """

    at: int
    by: str
    action: str
    target: str
    detail: dict[str, Any] = {}
    address: str = ""
    outcome: str = "done"


class NotificationRaised(Event, tag="nr"):
    """Somebody ought to know something.

    ``to`` are the accounts it is addressed to, ``device`` may be empty, ``source`` says what raised it as kind and id
    (``rule:ID``, ``webhook:ID``, ``channel:ID``, ``test``). ``repeats`` is the id of an earlier one that this is once
    more: counted there, and told to nobody again. ``key`` is what such repetitions have in common.
    """

    id: str
    device: str
    at: int
    severity: str
    source: str
    title: str
    text: str = ""
    to: list[str] = []
    key: str = ""
    repeats: str = ""


class HistoryErased(Event, tag="he"):
    """Points of a device with ``t0 <= ts < t1`` (milliseconds UTC) that arrived before this were taken out of history.

    ``key`` is empty for all keys.
    """

    device: str
    at: int
    key: str
    t0: int
    t1: int
    by: str = ""


class HistoryCorrected(Event, tag="hc"):
    """Points of one key with ``t0 <= ts < t1`` that arrived before this were replaced by ``points``.

    They are ``[ts, value]`` with rising times within that span.
    """

    device: str
    at: int
    key: str
    t0: int
    t1: int
    points: list[tuple[int, Any]] = []
    by: str = ""


class ReadingImported(Event, tag="ti"):
    """A reading of a device from somebody else's records, or from ours of another time; fields as in
    :class:`TelemetryReceived`.

    It is history and nothing else: the device did not speak, so no rule, live view or presence follows it.
    """

    device: str
    ts: int
    source: str
    received: int
    values: dict[str, Any]


class UpdatePlanned(Event, tag="fp"):
    """A roll-out takes a device in, or once more (:mod:`relevo.domain.rollouts`); ``skipped`` says why it gets nothing.

    ``wave`` counts from 1; ``by`` is who asked for it once more.
    """

    device: str
    at: int
    rollout: str
    release: str
    wave: int
    skipped: str = ""
    by: str = ""


class UpdateOffered(Event, tag="fo"):
    """A device was given the signed manifest of a release; ``issued`` is what it says (seconds UTC)."""

    device: str
    at: int
    rollout: str
    release: str
    issued: int


class UpdateReported(Event, tag="fr"):
    """A device said how far it is with a release; ``state`` is its own word, ``rollout`` empty where none is meant."""

    device: str
    at: int
    rollout: str
    release: str
    state: str
    percent: int = 0
    reason: str = ""
    version: str = ""


class UpdateEnded(Event, tag="fe"):
    """The server is done with a device of a roll-out: ``state`` is updated, timed_out, skipped or cancelled."""

    device: str
    at: int
    rollout: str
    release: str
    state: str
    reason: str = ""


class RolloutChanged(Event, tag="fc"):
    """A roll-out of ``owner`` is as it says here; ``wave`` of its waves have begun. ``by`` is empty for the server."""

    at: int
    rollout: str
    release: str
    state: str
    wave: int
    owner: str
    reason: str = ""
    by: str = ""


AnyEvent: TypeAlias = (
    TelemetryReceived
    | DeviceRegistered
    | DeviceChanged
    | DeviceRemoved
    | DeviceConnected
    | DeviceDisconnected
    | PresenceChanged
    | StateReported
    | SensorsRead
    | StatusSet
    | DeviceEventReported
    | DeviceAnswered
    | CommandQueued
    | CommandSent
    | CommandReturned
    | CommandArrived
    | CommandEnded
    | DesiredChanged
    | DesiredAgreed
    | DesiredFailed
    | ReportedChanged
    | UnclaimedSeen
    | UnclaimedReading
    | ReadingShown
    | Refused
    | Noticed
    | RuleFired
    | RuleCleared
    | AlertChanged
    | WebhookAsked
    | Audited
    | NotificationRaised
    | HistoryErased
    | HistoryCorrected
    | ReadingImported
    | UpdatePlanned
    | UpdateOffered
    | UpdateReported
    | UpdateEnded
    | RolloutChanged
)
