"""Publishing below the contract's root for an operator (contract autocore, sections 3.2 and 5).

A relay that has a function or a protection is switched as by a command, whatever the message is called: there is one
place that knows what may be on. Everything else leaves as it is.
"""

import re
from typing import Any, Final

from starlette.requests import HTTPConnection

from relevo.dialects.autocore import TO_SWITCH, UUID, commands
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.errors import FieldError, Forbidden, Invalid, NotFound
from relevo.http.autocore.shapes import CONTRACT, to_json
from relevo.http.services import Services

TOPIC_BYTES: Final = 128
PAYLOAD_BYTES: Final = 512
_OF_DEVICE: Final = re.compile(rf"devices/({UUID.pattern})/(.+)")


async def publish(
    connection: HTTPConnection, wired: Services, identity: Identity, topic: str, payload: Any, qos: int
) -> list[str]:
    """Let it out; the ids of commands that it became.

    Raises :class:`Invalid` (``topic_not_allowed`` for a topic that is not of this contract), :class:`NotFound`,
    :class:`Forbidden` and what :meth:`Dispatch.ask` raises.
    """
    prefix = wired.dialects[CONTRACT].options()["topic_prefix"]
    rest = topic.removeprefix(f"{prefix}/")
    if rest == topic or not rest or any(mark in topic for mark in "+#\0") or len(topic.encode()) > TOPIC_BYTES:
        words = f"topic must begin with {prefix}/, have no wildcard and at most {TOPIC_BYTES} bytes"
        raise Invalid("topic_not_allowed", words, [FieldError("topic", words, "topic_not_allowed")])
    data = to_json(payload)
    if type(payload) is not dict or len(data) > PAYLOAD_BYTES:
        words = f"payload must be an object of at most {PAYLOAD_BYTES} bytes"
        raise Invalid("payload_invalid", words, [FieldError("payload", words, "payload_invalid")])
    match = _OF_DEVICE.fullmatch(rest)
    device = wired.registry.find(CONTRACT, match[1]) if match else None
    _check_right(wired, identity, device, match is not None)
    asked: list[str] = []
    if device is not None and match is not None:
        if match[2] == "relays/heartbeat" and type(payload.get("channel")) is int:
            wired.switching.beat(device.id, payload["channel"])
        relay = commands.relay_in(payload) if match[2] in TO_SWITCH else None
        if relay is not None and wired.switching.takes(device.id, relay[0]):
            asked = await wired.switching.switch(device.id, *relay, identity.name, f"contract:{CONTRACT}")
    if not asked:
        wired.announce(topic, data, qos, False)
    wired.audit(connection, identity, "mqtt.publish", device.id if device is not None else topic, {"topic": topic})
    return asked


def _check_right(wired: Services, identity: Identity, device: Device | None, named: bool) -> None:
    if device is None:
        if identity.role is not Role.ADMINISTRATOR:
            raise NotFound("Device not found") if named else Forbidden("Only administrators publish to all boards")
        return
    held = wired.auth.people.right(identity, device)
    if not held:
        raise NotFound("Device not found")
    if held < Right.CONTROL:
        raise Forbidden("Needs the right to control this device")
