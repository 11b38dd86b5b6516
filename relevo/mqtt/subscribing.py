"""SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 to 3.11)."""

from typing import TYPE_CHECKING

from relevo.mqtt.doorkeeper import Principal
from relevo.mqtt.subscriptions import split_shared
from relevo.wire.mqtt_encode import encode_suback, encode_unsuback
from relevo.wire.mqtt_errors import MalformedPacket, Reason
from relevo.wire.mqtt_packets import MQTT_5, Subscribe, SubscribeFilter, Unsubscribe
from relevo.wire.mqtt_session import Session
from relevo.wire.topics import valid_filter

if TYPE_CHECKING:
    from relevo.mqtt.connection import Connection

_Refusal = tuple[Reason, str, str]


def subscribe(connection: "Connection", packet: Subscribe) -> None:
    """Grant or refuse each filter, answer with one code each, then send what is retained."""
    broker, session, principal = connection.broker, connection.session, connection.principal
    assert session is not None
    assert principal is not None
    ident = (packet.properties or {}).get("subscription_identifier", 0)
    granted: list[tuple[SubscribeFilter, bool]] = []
    reasons: list[int] = []
    for wanted in packet.filters:
        wanted.identifier = ident
        refusal = _refusal(connection, wanted, principal, session)
        if refusal is None:
            granted.append((wanted, broker.subscribe(connection, wanted)))
            reasons.append(wanted.qos)
            continue
        code, reason, detail = refusal
        reasons.append(code if connection.version == MQTT_5 else 0x80)
        broker.refusals.refuse(principal.device, "mqtt", reason, detail, connection.address)
    if granted and session.expiry:
        session.changes.append(session.kept())
    broker.send_after_commit(connection, session, encode_suback(connection.version, packet.packet_id, reasons))
    for device in connection.devices:
        broker.listening(device)
    for wanted, new in granted:
        # Section 4.8.2: shared subscriptions get nothing retained.
        if not wanted.filter.startswith("$share/") and (
            wanted.retain_handling == 0 or (wanted.retain_handling == 1 and new)
        ):
            broker.send_retained(connection, wanted)


def _refusal(
    connection: "Connection", wanted: SubscribeFilter, principal: Principal, session: Session
) -> _Refusal | None:
    limits = connection.broker.settings.limits
    filter_ = wanted.filter
    try:
        shared = split_shared(filter_)
    except ValueError as error:
        raise MalformedPacket(Reason.TOPIC_FILTER_INVALID, str(error)) from None
    if shared is not None:
        if wanted.no_local:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, "no local on a shared subscription [MQTT-3.8.3-4]")
        filter_ = shared[1]
    elif not valid_filter(filter_):
        raise MalformedPacket(Reason.TOPIC_FILTER_INVALID, f"topic filter {filter_[:80]!r} [MQTT-4.7.1-1]")
    if len(wanted.filter.encode()) > limits.topic_bytes or filter_.count("/") >= limits.topic_levels:
        return Reason.QUOTA_EXCEEDED, "filter_too_long", f"topic filter {filter_[:80]!r} is too long or too deep"
    if not principal.may_subscribe(filter_):
        return Reason.NOT_AUTHORIZED, "filter_not_allowed", f"may not subscribe to {filter_!r}"
    if len(session.subscriptions) >= limits.subscriptions and wanted.filter not in session.subscriptions:
        return Reason.QUOTA_EXCEEDED, "too_many_subscriptions", f"more than {limits.subscriptions} subscriptions"
    return None


def unsubscribe(connection: "Connection", packet: Unsubscribe) -> None:
    """Take filters away; version 5 hears which there were."""
    broker, session = connection.broker, connection.session
    assert session is not None
    reasons = [
        int(Reason.SUCCESS if broker.unsubscribe(connection, filter_) else Reason.NO_SUBSCRIPTION_EXISTED)
        for filter_ in packet.filters
    ]
    if session.expiry:
        session.changes.append(session.kept())
    broker.send_after_commit(connection, session, encode_unsuback(connection.version, packet.packet_id, reasons))
