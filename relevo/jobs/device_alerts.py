"""Alerts that devices raise themselves (:class:`relevo.dialect.RaisesAlerts`): opened with the message that says so.

Nothing tells when such an alert is over, so it waits for a person. The same one again is counted; whoever may view the
device is told of one that is new or worse.
"""

import secrets
from typing import Final

from relevo.clock import Clock
from relevo.dialect import Alarm
from relevo.domain.alerts import Alerts
from relevo.domain.devices import Registry
from relevo.domain.events import AlertChanged
from relevo.notifications import Notifications
from relevo.pipeline import Pipeline

SOURCE: Final = "device"
_TOLD: Final = frozenset({"opened", "reopened", "escalated"})


class DeviceAlerts:
    """One for the whole process, used on the event loop."""

    def __init__(
        self, alerts: Alerts, notifications: Notifications, registry: Registry, pipeline: Pipeline, clock: Clock
    ) -> None:
        self._alerts = alerts
        self._notifications = notifications
        self._registry = registry
        self._pipeline = pipeline
        self._clock = clock

    def raised(self, device: str, alarm: Alarm) -> AlertChanged:
        """The alert after ``alarm``, to submit with the message; people are told beside it."""
        found = self._registry.get(device)
        owner = found.owner if found is not None else ""
        action = {"severity": alarm.severity, "key": f"{SOURCE}:{alarm.name}", "auto_clear": False}
        changed = self._alerts.fired(
            secrets.token_hex(8),
            device,
            owner,
            SOURCE,
            alarm.name,
            action,
            alarm.text,
            alarm.values,
            self._clock.now_ms(),
        )
        if changed.change in _TOLD:
            title = f"{found.name if found is not None else device}: {alarm.name}"
            key = f"{changed.id}:{changed.change}"
            self._pipeline.submit(
                self._notifications.prepare(
                    alarm.severity, f"{SOURCE}:{device}", title, alarm.text, device=device, key=key
                )
            )
        return changed
