"""``/metrics`` in the Prometheus text format. Figures are read when asked for; nothing is counted twice.

The library brings HTTP servers of its own, 1 MB that only a server which is scraped loads: at the first question.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from relevo.domain.accounts import Role
from relevo.http.services import Services, services_of
from relevo.pipeline import COMMIT_BOUNDS_S, Counters

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_MQTT_GAUGES: Final = {
    "connections": "Open MQTT connections.",
    "sessions": "MQTT sessions, with and without a connection.",
    "subscriptions": "MQTT subscriptions.",
    "retained": "Retained MQTT messages.",
    "waiting": "MQTT clients whose CONNECT waits for its turn.",
}
_MQTT_COUNTERS: Final = {
    "received": "MQTT messages received.",
    "sent": "MQTT messages sent.",
    "dropped": "MQTT messages dropped for slow or absent clients.",
    "delayed": "MQTT clients whose CONNECT had to wait.",
}

_WEBHOOK_COUNTERS: Final = (
    "delivered",
    "failed",
    "dead",
    "dropped",
    "missed",
    "replayed",
    "disabled",
    "unshown",
    "tests",
)


_NOTIFICATION_COUNTERS: Final = {
    "raised": "Notifications raised.",
    "repeated": "Notifications raised again within a minute, counted only.",
    "sent": "Messages that a channel took.",
    "failed": "Attempts to send a message that failed.",
    "given_up": "Notices that a channel did not get.",
}
_NOTIFICATION_GAUGES: Final = {
    "waiting": "Notices on their way through channels.",
    "channels_failing": "Channels through which nothing gets.",
}


_UPDATES: Final = (
    ("relevo_rollouts_open", "rollouts", "Roll-outs that are not over."),
    ("relevo_rollout_devices", "devices", "Devices of open roll-outs."),
)


class _Figures:
    def __init__(self, wired: Services) -> None:
        self._wired = wired

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        wired = self._wired
        counters = wired.pipeline.counters
        yield CounterMetricFamily("relevo_events", "Events committed.", value=counters.events)
        yield CounterMetricFamily("relevo_commits", "Group commits.", value=counters.commits)
        yield _commit_times(counters)
        yield CounterMetricFamily("relevo_duplicates", "Numbered readings seen before.", value=counters.duplicates)
        yield CounterMetricFamily("relevo_commits_failed", "Commits that failed.", value=counters.failed_commits)
        yield GaugeMetricFamily("relevo_waiting", "Submissions waiting for their commit.", value=wired.pipeline.waiting)
        yield GaugeMetricFamily("relevo_devices", "Registered devices.", value=len(wired.registry))
        figures = wired.figures()
        memory = figures["memory"]
        yield GaugeMetricFamily("relevo_history_tail_events", "Events not in chunks yet.", value=memory["tail"])
        yield CounterMetricFamily("relevo_history_points", "Values moved into chunks.", value=memory["points"])
        yield CounterMetricFamily("relevo_history_steps", "Transactions that moved them.", value=memory["steps"])
        yield CounterMetricFamily("relevo_history_rolled", "Series rolled up.", value=memory["rolled"])
        yield CounterMetricFamily("relevo_history_failed", "Passes that failed.", value=memory["failed"])
        yield GaugeMetricFamily("relevo_database_bytes", "Size of the database's file.", value=memory["file_bytes"])
        yield GaugeMetricFamily("relevo_database_free_bytes", "What of it is free.", value=memory["free_bytes"])
        yield CounterMetricFamily(
            "relevo_history_trimmed", "Up to which event readings have left the journal.", value=memory["trimmed"]
        )
        yield GaugeMetricFamily(
            "relevo_history_erasing", "Removals that are not erased everywhere yet.", value=memory["erasing"]
        )
        longest = "The longest of these transactions."
        yield GaugeMetricFamily("relevo_history_longest_seconds", longest, value=memory["longest_s"])
        backups = figures["backups"]
        if backups["age_s"] is not None:
            since = "Seconds since the newest backup was begun; absent while there is none."
            yield GaugeMetricFamily("relevo_backup_age_seconds", since, value=backups["age_s"])
            yield GaugeMetricFamily("relevo_backup_bytes", "Size of the newest backup.", value=backups["size"])
        yield CounterMetricFamily("relevo_backups", "Backups made.", value=backups["made"])
        yield CounterMetricFamily("relevo_backups_failed", "Backups that failed.", value=backups["failed"])
        yield GaugeMetricFamily("relevo_live_views", "Open streams and WebSockets.", value=figures["live_views"])
        for name, what in _MQTT_GAUGES.items():
            yield GaugeMetricFamily(f"relevo_mqtt_{name}", what, value=figures["mqtt"][name])
        for name, what in _MQTT_COUNTERS.items():
            yield CounterMetricFamily(f"relevo_mqtt_{name}", what, value=figures["mqtt"][name])
        there = GaugeMetricFamily("relevo_devices_online", "Devices that are there.", labels=("contract",))
        for contract, counts in figures["presence"].items():
            there.add_metric((contract,), counts["online"])
        yield there
        told = figures["commands"]
        yield GaugeMetricFamily("relevo_commands_open", "Commands not over.", value=told["open"])
        ended = CounterMetricFamily("relevo_commands", "Commands by the state they ended in.", labels=("state",))
        for state, count in told["ended"].items():
            ended.add_metric((state,), count)
        yield ended
        updates = figures["updates"]
        yield GaugeMetricFamily("relevo_firmware_releases", "Releases of firmware.", value=updates["releases"])
        for name, of, what in _UPDATES:
            family = GaugeMetricFamily(name, what, labels=("state",))
            for state, count in updates[of].items():
                family.add_metric((state,), count)
            yield family
        said = CounterMetricFamily("relevo_update_reports", "What boards said of updates.", labels=("state",))
        for state, count in updates["reported"].items():
            said.add_metric((state,), count)
        yield said
        rules = figures["rules"]
        yield GaugeMetricFamily("relevo_rules_active", "Rules that are switched on.", value=rules["active"])
        yield GaugeMetricFamily("relevo_alerts_open", "Alerts that are not over.", value=rules["alerts"])
        yield CounterMetricFamily("relevo_rules_fired", "Rules that became true of a device.", value=rules["fired"])
        yield CounterMetricFamily("relevo_rules_cleared", "Rules that ended to be so.", value=rules["cleared"])
        notices = figures["notifications"]
        for name, what in _NOTIFICATION_COUNTERS.items():
            yield CounterMetricFamily(f"relevo_notifications_{name}", what, value=notices[name])
        for name, what in _NOTIFICATION_GAUGES.items():
            yield GaugeMetricFamily(f"relevo_notifications_{name}", what, value=notices[name])
        hooks = wired.webhooks
        yield GaugeMetricFamily("relevo_webhooks", "Webhooks that are switched on.", value=_enabled(wired))
        yield GaugeMetricFamily("relevo_webhook_waiting", "Deliveries on their way.", value=hooks.waiting())
        yield GaugeMetricFamily("relevo_webhook_dead_letters", "Dead letters kept.", value=hooks.dead.total())
        sent = CounterMetricFamily("relevo_webhook_deliveries", "Deliveries by what became of them.", labels=("what",))
        for what in _WEBHOOK_COUNTERS:
            sent.add_metric((what,), hooks.counts[what])
        yield sent
        refused = CounterMetricFamily("relevo_refused", "Refusals by place and reason.", labels=("where", "reason"))
        for (where, reason), count in sorted(wired.refusals.counts.items()):
            refused.add_metric((where, reason), count)
        yield refused
        noticed = CounterMetricFamily("relevo_noticed", "Things noticed that lost nothing.", labels=("kind",))
        for kind, count in sorted(wired.refusals.notices.items()):
            noticed.add_metric((kind,), count)
        yield noticed


def _commit_times(counters: Counters) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    found, so_far = [], 0
    for bound, count in zip((*(f"{one:g}" for one in COMMIT_BOUNDS_S), "+Inf"), counters.commit_times, strict=True):
        so_far += count
        found.append((bound, float(so_far)))
    what = "Seconds that a group commit took, with its sync to disk."
    return HistogramMetricFamily("relevo_commit_seconds", what, buckets=found, sum_value=counters.commit_seconds)


def _enabled(wired: Services) -> int:
    return sum(one.enabled for one in wired.webhooks.all.values())


async def metrics(request: Request) -> Response:
    """For signed-in people and their scrapers."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.process_collector import ProcessCollector

    wired = services_of(request)
    wired.auth.require(request, Role.VIEWER)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Figures(wired))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
