"""What the server says of itself: health and counters."""

from collections.abc import Callable
from typing import Any, NamedTuple

from relevo.bus import Bus
from relevo.dispatch import Dispatch
from relevo.domain.devices import Registry
from relevo.domain.presence import Presence
from relevo.jobs.backup import Backups
from relevo.jobs.compactor import Compactor
from relevo.jobs.notifier import Notifier
from relevo.jobs.rules import Rules
from relevo.mqtt.broker import Broker
from relevo.mqtt.server import MqttServer
from relevo.notifications import Notifications
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals
from relevo.updates import Updates


class Figures(NamedTuple):
    """Whose figures they are."""

    pipeline: Pipeline
    broker: Broker
    mqtt: MqttServer
    dispatch: Dispatch
    registry: Registry
    presence: Presence
    rules: Rules
    notifications: Notifications
    notifier: Notifier
    refusals: Refusals
    bus: Bus
    compactor: Compactor
    backups: Backups
    updates: Updates
    # Plain and TLS, 0 where nothing listens.
    mqtt_ports: Callable[[], tuple[int, int]]

    def problems(self) -> list[str]:
        """Why the server is not ready; empty when it is."""
        found = []
        state = self.pipeline.state
        if state.name != "ok":
            found.append(f"store {state.name}: {state.detail}")
        if not self.mqtt.listening:
            found.append("the MQTT door does not listen")
        return found

    def all(self) -> dict[str, Any]:
        """Everything, for ``/api/v1/system`` and ``/metrics``."""
        pipeline, counts = self.pipeline, self.broker.counts
        state = pipeline.state
        port, tls_port = self.mqtt_ports()
        return {
            "store": {
                "state": state.name,
                "detail": state.detail,
                "seq": pipeline.committed_seq,
                "waiting": pipeline.waiting,
            },
            "mqtt": {
                "port": port,
                "tls_port": tls_port or None,
                "connections": len(self.mqtt.connections),
                "sessions": len(self.broker.sessions),
                "subscriptions": self.broker.subscriptions.count,
                "retained": len(self.broker.retained),
                "waiting": self.broker.governor.waiting,
                "delayed": self.broker.governor.delayed,
                "received": counts["received"],
                "sent": counts["sent"],
                "dropped": counts["dropped"],
            },
            "commands": {"open": len(self.dispatch.ledger), "ended": dict(sorted(self.dispatch.ended.items()))},
            "presence": self._there(),
            "rules": self.rules.figures(),
            "updates": self.updates.figures(),
            "notifications": self._told(),
            "memory": self.compactor.figures(),
            "backups": self.backups.figures(),
            "live_views": len(self.bus),
            "counters": {
                "events": pipeline.counters.events,
                "commits": pipeline.counters.commits,
                "duplicates": pipeline.counters.duplicates,
                "failed_commits": pipeline.counters.failed_commits,
                "refused": {f"{where}.{reason}": n for (where, reason), n in sorted(self.refusals.counts.items())},
                "noticed": dict(sorted(self.refusals.notices.items())),
            },
        }

    def _told(self) -> dict[str, int]:
        kept, counts = self.notifications, self.notifier.counts
        failing = sum(one.failing_since > 0 for one in kept.health.values())
        sent = {name: counts[name] for name in ("sent", "failed", "given_up")}
        waiting = {"waiting": kept.waits(), "channels_failing": failing}
        return {"raised": kept.raised, "repeated": kept.repeated, **sent, **waiting}

    def _there(self) -> dict[str, dict[str, int]]:
        """Devices by contract, and how many of them are there."""
        found: dict[str, dict[str, int]] = {}
        for device in self.registry.all():
            of = found.setdefault(device.contract, {"devices": 0, "online": 0})
            of["devices"] += 1
            of["online"] += self.presence.online(device.id)
        return found
