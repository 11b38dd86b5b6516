"""Events as watchers see them: one JSON object each, with its kind and sequence number."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from relevo.bus import Delivered, Missed
from relevo.domain import events as ev
from relevo.domain.devices import Registry
from relevo.domain.rollouts import WORDS

KINDS: Final = frozenset(
    {
        "telemetry",
        "presence",
        "connection",
        "device",
        "state",
        "event",
        "answer",
        "command",
        "rule",
        "alert",
        "twin",
        "webhook",
        "refused",
        "notice",
        "notification",
        "unclaimed",
        "history",
        "update",
        "rollout",
        "gap",
    }
)
_encode: Final = msgspec.json.Encoder().encode

_KIND_OF: Final[dict[type, str]] = {
    ev.TelemetryReceived: "telemetry",
    ev.UnclaimedReading: "telemetry",
    ev.ReadingShown: "telemetry",
    ev.PresenceChanged: "presence",
    ev.DeviceConnected: "connection",
    ev.DeviceDisconnected: "connection",
    ev.DeviceRegistered: "device",
    ev.DeviceChanged: "device",
    ev.DeviceRemoved: "device",
    ev.StateReported: "state",
    ev.StatusSet: "state",
    ev.DeviceEventReported: "event",
    ev.DeviceAnswered: "answer",
    ev.CommandQueued: "command",
    ev.CommandSent: "command",
    ev.CommandReturned: "command",
    ev.CommandArrived: "command",
    ev.CommandEnded: "command",
    ev.RuleFired: "rule",
    ev.RuleCleared: "rule",
    ev.AlertChanged: "alert",
    ev.DesiredChanged: "twin",
    ev.DesiredAgreed: "twin",
    ev.DesiredFailed: "twin",
    ev.ReportedChanged: "twin",
    ev.WebhookAsked: "webhook",
    ev.Refused: "refused",
    ev.Noticed: "notice",
    ev.UnclaimedSeen: "unclaimed",
    ev.NotificationRaised: "notification",
    ev.HistoryErased: "history",
    ev.HistoryCorrected: "history",
    ev.UpdateOffered: "update",
    ev.UpdateReported: "update",
    ev.UpdateEnded: "update",
    ev.RolloutChanged: "rollout",
}


# The audit log is read, not watched; what sensors measured is told as telemetry already; the past is not live; whom a
# roll-out takes in is told with the roll-out.
UNSEEN: Final = frozenset({ev.Audited, ev.SensorsRead, ev.ReadingImported, ev.UpdatePlanned})


def kind_of(event: ev.AnyEvent) -> str:
    return _KIND_OF[type(event)]


def wants(
    sees: Callable[[ev.AnyEvent], bool], devices: frozenset[str], kinds: frozenset[str]
) -> Callable[[ev.AnyEvent], bool]:
    """A filter by what somebody may see, and by device ids and kinds; an empty set is all of it."""

    def decide(event: ev.AnyEvent) -> bool:
        if type(event) in UNSEEN or not sees(event):
            return False
        if kinds and _KIND_OF[type(event)] not in kinds:
            return False
        return not devices or getattr(event, "device", None) in devices

    return decide


class Views:
    """Renders events, each once however many watch."""

    _KEPT = 4_096

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # The event beside its bytes: a slow watcher's merged reading has the number of another one.
        self._kept: dict[int, tuple[ev.AnyEvent, bytes]] = {}

    def json(self, one: Delivered | Missed) -> bytes:
        """The object of one event, as JSON."""
        if isinstance(one, Missed):
            return _encode({"kind": "gap", "missed": one.count})
        if not one.seq:
            return _encode(self.object_of(0, one.event))
        known = self._kept.get(one.seq)
        if known is None or known[0] is not one.event:
            if len(self._kept) >= self._KEPT:
                self._kept.clear()
            known = self._kept[one.seq] = (one.event, _encode(self.object_of(one.seq, one.event)))
        return known[1]

    def object_of(self, seq: int, event: ev.AnyEvent) -> dict[str, Any]:
        """The object of one event; ``seq`` 0 for what has no number."""
        out: dict[str, Any] = {"seq": seq or None, "kind": kind_of(event)}
        match event:
            case ev.TelemetryReceived() | ev.ReadingShown():
                device = self._registry.get(event.device)
                out |= {
                    "device": event.device,
                    "contract": device.contract if device else "",
                    "external_id": device.external_id if device else "",
                    "ts": event.ts,
                    "ts_source": event.source,
                    "received": event.received,
                    "values": event.values,
                    "stored": type(event) is ev.TelemetryReceived,
                }
            case ev.UnclaimedReading():
                out |= {
                    "device": None,
                    "contract": event.contract,
                    "external_id": event.external_id,
                    "ts": event.ts,
                    "ts_source": event.source,
                    "received": event.received,
                    "values": event.values,
                    "stored": False,
                }
            case ev.DeviceConnected():
                out |= {"device": event.device, "connected": True, "at": event.at, "reason": "", "via": event.via}
            case ev.DeviceDisconnected():
                out |= {"device": event.device, "connected": False, "at": event.at, "reason": event.reason}
            case ev.PresenceChanged():
                out |= {
                    "device": event.device,
                    "online": event.online,
                    "at": event.at,
                    "since": event.since,
                    "reason": event.reason,
                }
            case ev.DeviceRegistered():
                out |= {
                    "device": event.device,
                    "change": "registered",
                    "name": event.name,
                    "type": event.type,
                    "contract": event.contract,
                    "external_id": event.external_id,
                    "at": event.at,
                }
            case ev.DeviceChanged():
                changes = {name: value for name, value in event.changes.items() if name != "key_hash"}
                out |= {"device": event.device, "change": "changed", "changes": changes, "at": event.at}
            case ev.DeviceRemoved():
                out |= {"device": event.device, "change": "removed", "at": event.at}
            case ev.StateReported():
                out |= {"device": event.device, "state": event.state, "at": event.at}
            case ev.StatusSet():
                out |= {"device": event.device, "state": {"status": event.status}, "at": event.at, "by": event.by}
            case ev.DeviceEventReported():
                out |= {"device": event.device, "event": event.event, "at": event.at}
            case ev.DeviceAnswered():
                out |= {"device": event.device, "answer": event.answer, "at": event.at}
            case ev.CommandQueued():
                out |= _step(event.device, event.id, "queued", event.at) | {
                    "name": event.name,
                    "params": event.params,
                    "by": event.by,
                    "origin": event.origin,
                    "expires": event.expires,
                }
            case ev.CommandSent():
                out |= _step(event.device, event.id, "sent", event.at) | {"reason": event.via}
            case ev.CommandReturned():
                out |= _step(event.device, event.id, "queued", event.at) | {"reason": event.reason}
            case ev.CommandArrived():
                out |= _step(event.device, event.id, "arrived", event.at)
            case ev.CommandEnded():
                out |= _step(event.device, event.id, event.state, event.at)
                out |= {"reason": event.reason, "result": event.result}
            case ev.RuleFired():
                out |= _rule(event, "fired") | {"since": event.since, "values": event.values, "late": event.late}
            case ev.RuleCleared():
                out |= _rule(event, "cleared")
            case ev.AlertChanged():
                out |= {
                    "device": event.device,
                    "alert": event.id,
                    "change": event.change,
                    "state": event.state,
                    "severity": event.severity,
                    "text": event.text,
                    "rule": event.rule,
                    "name": event.name,
                    "opened": event.opened_at,
                    "ended": event.ended_at or None,
                    "count": event.count,
                    "values": event.values,
                    "by": event.by,
                    "note": event.note,
                    "at": event.at,
                }
            case ev.DesiredChanged() | ev.ReportedChanged():
                change = "desired" if isinstance(event, ev.DesiredChanged) else "reported"
                out |= {"device": event.device, "change": change, "version": event.version, "values": event.values}
                out |= {"removed": event.removed, "by": event.by, "at": event.at}
            case ev.DesiredAgreed():
                out |= {"device": event.device, "change": "agreed", "keys": event.keys, "at": event.at}
                out["reason"] = event.reason
            case ev.DesiredFailed():
                out |= {"device": event.device, "change": "failed", "keys": event.keys, "at": event.at}
                out |= {"values": event.values, "reported": event.reported}
            case ev.WebhookAsked():
                out |= {
                    "device": event.device or None,
                    "webhook": event.webhook,
                    "by": event.by,
                    "body": event.body,
                    "at": event.at,
                }
            case ev.Refused():
                out |= {
                    "device": event.device or None,
                    "where": event.where,
                    "reason": event.reason,
                    "detail": event.detail,
                    "address": event.address,
                    "count": event.count,
                    "at": event.at,
                }
            case ev.Noticed():
                out |= {
                    "device": event.device or None,
                    "kind_of": event.kind,
                    "detail": event.detail,
                    "count": event.count,
                    "at": event.at,
                }
            case ev.NotificationRaised():
                # To whom else it went is nobody's business.
                out |= {
                    "device": event.device or None,
                    "id": event.id,
                    "severity": event.severity,
                    "source": event.source,
                    "title": event.title,
                    "text": event.text,
                    "repeats": event.repeats or None,
                    "at": event.at,
                }
            case ev.UpdateOffered():
                out |= _update(event, "offered", "offered")
            case ev.UpdateReported():
                out |= _update(event, event.state, WORDS[event.state])
                out |= {"percent": event.percent, "reason": event.reason, "version": event.version or None}
            case ev.UpdateEnded():
                out |= _update(event, event.state, event.state) | {"reason": event.reason}
            case ev.RolloutChanged():
                out |= {
                    "rollout": event.rollout,
                    "release": event.release,
                    "state": event.state,
                    "wave": event.wave,
                    "reason": event.reason,
                    "by": event.by,
                    "at": event.at,
                }
            case ev.HistoryErased() | ev.HistoryCorrected():
                change = "erased" if isinstance(event, ev.HistoryErased) else "corrected"
                out |= {"device": event.device, "change": change, "key": event.key or None}
                out |= {"from": event.t0, "to": event.t1, "by": event.by, "at": event.at}
            case ev.UnclaimedSeen():
                out |= {
                    "contract": event.contract,
                    "external_id": event.external_id,
                    "reason": event.reason,
                    "payload": event.payload,
                    "count": event.count,
                    "at": event.at,
                }
        return out


def _rule(event: ev.RuleFired | ev.RuleCleared, change: str) -> dict[str, Any]:
    return {
        "device": event.device,
        "rule": event.rule,
        "name": event.name,
        "change": change,
        "reading_at": event.reading_at,
        "at": event.at,
    }


def _update(event: ev.UpdateOffered | ev.UpdateReported | ev.UpdateEnded, change: str, state: str) -> dict[str, Any]:
    return {
        "device": event.device,
        "rollout": event.rollout or None,
        "release": event.release,
        "change": change,
        "state": state,
        "at": event.at,
    }


def _step(device: str, command: str, state: str, at: int) -> dict[str, Any]:
    return {"device": device, "command": command, "state": state, "at": at}
