"""Last wills that wait: MQTT 5.0 section 3.1.3.2.2, Will Delay Interval."""

from typing import NamedTuple

from relevo.clock import Clock
from relevo.mqtt.doorkeeper import Principal
from relevo.wire.mqtt_packets import Publish, Will


class Pending(NamedTuple):
    """A will that is published at ``due`` (monotonic seconds) unless its client comes back."""

    due: float
    will: Will
    principal: Principal
    address: str


def as_publish(will: Will) -> Publish:
    """The will as the message that it becomes."""
    properties = will.properties
    if properties:
        properties = {name: value for name, value in properties.items() if name != "will_delay_interval"}
    return Publish(will.topic, will.payload, will.qos, will.retain, False, 0, properties or None)


class Wills:
    """Those that wait, by client identifier."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[str, Pending] = {}

    def wait(self, client_id: str, will: Will, principal: Principal, address: str, seconds: float) -> None:
        self._pending[client_id] = Pending(self._clock.monotonic() + seconds, will, principal, address)

    def take(self, client_id: str) -> Pending | None:
        """The will of a client that came back or whose session ended."""
        return self._pending.pop(client_id, None)

    def due(self) -> list[Pending]:
        """Those whose time has come; they are no longer here."""
        now = self._clock.monotonic()
        ids = [client_id for client_id, one in self._pending.items() if one.due <= now]
        return [self._pending.pop(client_id) for client_id in ids]
