"""CONNECT and what follows from it: who comes in, under which session and which terms (MQTT 5.0 section 3.1)."""

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from relevo.errors import Invalid
from relevo.mqtt.doorkeeper import Principal, Refusal, Verdict
from relevo.wire.mqtt_encode import encode_connack
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import MQTT_5, MQTT_31, Connect
from relevo.wire.mqtt_properties import Properties
from relevo.wire.mqtt_session import FOREVER

if TYPE_CHECKING:
    from relevo.mqtt.connection import Connection

# CONNACK return codes of 3.1.1 (table 3.1) for the reason codes of 5.0.
_RETURN_CODES: Final = {
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
    Reason.BANNED: 5,
}
_CLIENT_ID_BYTES: Final = 256


def begin(connection: "Connection", packet: Connect) -> None:
    """Take a CONNECT: at once when there is room, in turn when thousands come at the same time."""
    connection.version = packet.version

    def turn() -> None:
        if not connection.ended:
            _check(connection, packet)
            connection.go_on()

    if connection.broker.governor.admit(turn):
        _check(connection, packet)
    else:
        connection.pause("turn")


def _check(connection: "Connection", packet: Connect) -> None:
    broker = connection.broker
    properties = packet.properties or {}
    if "authentication_method" in properties:
        reject(connection, Refusal(Reason.BAD_AUTHENTICATION_METHOD, "bad_authentication_method", "not supported"))
        return
    if "authentication_data" in properties:
        reject(connection, Refusal(Reason.PROTOCOL_ERROR, "protocol_error", "authentication data without a method"))
        return
    name = packet.username or ""
    if name and broker.failed_logins.wait_s(name, connection.address):
        detail = f"too many wrong credentials for {name[:64]!r}: wait a minute"
        device = name if broker.intake.external_id(name) else ""
        reject(connection, Refusal(Reason.BANNED, "too_many_attempts", detail, device))
        return
    verdict = broker.doorkeeper.verdict(packet, connection.address, connection.certificate)
    if isinstance(verdict, Awaitable):
        connection.pause("credential")
        broker.keep(asyncio.ensure_future(_later(connection, packet, verdict)))
    else:
        _decided(connection, packet, verdict)


async def _later(connection: "Connection", packet: Connect, verdict: Awaitable[Verdict]) -> None:
    decided = await verdict
    if not connection.ended:
        _decided(connection, packet, decided)
        connection.go_on()


def _decided(connection: "Connection", packet: Connect, verdict: Verdict) -> None:
    broker = connection.broker
    if isinstance(verdict, Refusal):
        # A server that is busy says nothing about the password.
        if packet.username and verdict.code is not Reason.SERVER_BUSY:
            broker.failed_logins.failed(packet.username, connection.address)
        reject(connection, verdict)
        return
    client_id, assigned = packet.client_id, ""
    if not client_id:
        # [MQTT-3.1.3-8]; level 3 knows no empty identifier.
        if packet.version == MQTT_31 or (packet.version != MQTT_5 and not packet.clean_start):
            reject(
                connection, Refusal(Reason.CLIENT_ID_NOT_VALID, "client_id_missing", "empty client id", verdict.device)
            )
            return
        client_id = assigned = broker.free_client_id()
    elif len(client_id.encode()) > _CLIENT_ID_BYTES:
        detail = f"client id of more than {_CLIENT_ID_BYTES} bytes"
        reject(connection, Refusal(Reason.CLIENT_ID_NOT_VALID, "client_id_too_long", detail, verdict.device))
        return
    will = packet.will
    response = will.properties.get("response_topic", "-") if will is not None and will.properties else "-"
    if not response or "+" in response or "#" in response:
        detail = "response topic of the last will with a wildcard [MQTT-3.3.2-14]"
        reject(connection, Refusal(Reason.TOPIC_NAME_INVALID, "topic_name_invalid", detail, verdict.device))
        return
    if will is not None and not verdict.may_publish(will.topic):
        detail = f"last will on {will.topic!r}, which this client may not publish to"
        reject(connection, Refusal(Reason.NOT_AUTHORIZED, "will_not_allowed", detail, verdict.device))
        return
    _welcome(connection, packet, verdict, client_id, assigned)


def _welcome(connection: "Connection", packet: Connect, principal: Principal, client_id: str, assigned: str) -> None:
    broker = connection.broker
    limits = broker.settings.limits
    properties = packet.properties or {}
    version5 = packet.version == MQTT_5
    # Before version 5 a session without the clean flag has no end; here it has our longest.
    expiry = properties.get("session_expiry_interval", 0) if version5 else (0 if packet.clean_start else FOREVER)
    connection.principal = principal
    connection.update_key = broker.doorkeeper.update_key(principal, packet, connection.certificate)
    try:
        resumed = broker.open_session(connection, client_id, principal, packet.clean_start, expiry)
    except Invalid as problem:
        connection.principal = None
        refusal = Refusal(Reason.CLIENT_ID_NOT_VALID, problem.reason, problem.message, principal.device)
        reject(connection, refusal)
        return
    session = connection.session
    assert session is not None
    session.window = min(properties.get("receive_maximum", 65_535), limits.inflight)
    session.max_packet = properties.get("maximum_packet_size", 0)
    session.max_aliases = min(properties.get("topic_alias_maximum", 0), limits.topic_aliases)
    session.aliases.clear()
    connection.keep_alive = packet.keep_alive
    connection.says_why = bool(properties.get("request_problem_information", 1))
    connection.will = packet.will
    answer = _terms(connection, properties, assigned) if version5 else None
    data = encode_connack(packet.version, resumed, 0, answer)
    broker.counts["connects"] += 1
    connection.send(data)
    if principal.device:
        broker.speaks_for(connection, principal.device, connection.address)
    if resumed:
        broker.send_after_commit(connection, session, session.resume(broker.clock.now_ms()))


def _terms(connection: "Connection", asked: Properties, assigned: str) -> Properties:
    """What the server grants, as properties of CONNACK (section 3.2.2.3)."""
    limits = connection.broker.settings.limits
    session = connection.session
    assert session is not None
    terms: Properties = {
        "receive_maximum": limits.inflight,
        "maximum_packet_size": limits.packet_bytes,
        "topic_alias_maximum": limits.topic_aliases,
    }
    if assigned:
        terms["assigned_client_identifier"] = assigned
    if session.expiry != asked.get("session_expiry_interval", 0):
        terms["session_expiry_interval"] = session.expiry
    if not connection.keep_alive or connection.keep_alive > limits.keepalive_max_s:
        terms["server_keep_alive"] = connection.keep_alive = limits.keepalive_max_s
    return terms


def reject(connection: "Connection", refusal: Refusal) -> None:
    """Answer CONNECT with a refusal, tell it, and close [MQTT-3.2.2-7]."""
    version = connection.version
    code = refusal.code if version == MQTT_5 else _RETURN_CODES.get(refusal.code, 5)
    connection.broker.refusals.refuse(refusal.device, "mqtt", refusal.reason, refusal.detail, connection.address)
    connection.write_now(encode_connack(version, False, code))
    connection.end(refusal.reason, None, "")
