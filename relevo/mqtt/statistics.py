"""``$SYS`` topics: how the door is doing, for administrators who look with an MQTT client."""

from collections.abc import Iterator

from relevo import __version__
from relevo.mqtt.broker import Broker

EVERY_S = 10.0


def topics(broker: Broker, connections: int, uptime_s: float) -> Iterator[tuple[str, str]]:
    """``(topic, value)`` as Mosquitto names them where it has the same figure."""
    counts = broker.counts
    yield "$SYS/broker/version", f"relevo {__version__}"
    yield "$SYS/broker/uptime", f"{uptime_s:.0f} seconds"
    yield "$SYS/broker/clients/connected", str(len(broker.connected))
    yield "$SYS/broker/clients/disconnected", str(len(broker.sessions) - len(broker.connected))
    yield "$SYS/broker/clients/total", str(len(broker.sessions))
    yield "$SYS/broker/clients/waiting", str(broker.governor.waiting)
    yield "$SYS/broker/connections/open", str(connections)
    yield "$SYS/broker/messages/received", str(counts["received"])
    yield "$SYS/broker/messages/sent", str(counts["sent"])
    yield "$SYS/broker/publish/messages/dropped", str(counts["dropped"])
    yield "$SYS/broker/retained messages/count", str(len(broker.retained))
    yield "$SYS/broker/subscriptions/count", str(broker.subscriptions.count)
    yield "$SYS/broker/store/waiting", str(broker.pipeline.waiting)


def publish(broker: Broker, connections: int, uptime_s: float) -> None:
    """Send them to whoever is subscribed; nothing is made when nobody is."""
    if not broker.subscriptions.any("$SYS/broker/uptime") and not broker.subscriptions.any("$SYS/broker/version"):
        return
    for topic, value in topics(broker, connections, uptime_s):
        broker.announce(topic, value.encode())
