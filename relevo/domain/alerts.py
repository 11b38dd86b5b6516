"""Alerts: what somebody has to look at, from the moment it began until it is over.

Theory. An alert is about one device and has a *key*, by default that of its rule. While it is open, whatever would open
the same one again is counted instead; a more severe one raises its severity::

    open --acknowledged--> acknowledged --resolved (by a person)--> resolved
      \\-----------------------------------cleared (by itself)-----> cleared

It clears when none of the rules that keep it up is true of the device any more, unless ``auto_clear`` is off: then it
waits for a person. One that ended by itself less than five minutes ago is reopened instead of opening another, so that
something that comes and goes is one alert with a count. Who resolved one while its rule still held has said that it is
enough: the next one opens when the rule fires anew.

Changes are made here in memory and go on the road as :class:`AlertChanged`, each with the whole alert.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from relevo.domain.erasing import ERASED
from relevo.domain.events import AlertChanged
from relevo.domain.rule_actions import SEVERITIES
from relevo.errors import Conflict

OPEN: Final = "open"
ACKNOWLEDGED: Final = "acknowledged"
RESOLVED: Final = "resolved"
CLEARED: Final = "cleared"
STATES: Final = (OPEN, ACKNOWLEDGED, RESOLVED, CLEARED)
LIVE: Final = frozenset({OPEN, ACKNOWLEDGED})
CHANGES: Final = ("opened", "repeated", "escalated", "reopened", "acknowledged", "resolved", "cleared")
REOPEN_MS: Final = 300_000
NOTE_LIMIT: Final = 500
_ENDED_MOST: Final = 1_000


class Alert(msgspec.Struct, kw_only=True):
    """One alert. Times in milliseconds UTC, 0 is never; ``changed_at`` is of its last change, whose ``by`` and ``note``
    these are."""

    id: str
    device: str
    state: str
    severity: str
    text: str
    owner: str
    key: str
    rule: str
    name: str
    opened_at: int
    changed_at: int
    ended_at: int = 0
    count: int = 1
    auto_clear: bool = True
    rules: list[str] = []
    values: dict[str, Any] = {}
    by: str = ""
    note: str = ""


def after(event: AlertChanged) -> Alert:
    """The alert as ``event`` left it."""
    return Alert(
        id=event.id,
        device=event.device,
        state=event.state,
        severity=event.severity,
        text=event.text,
        owner=event.owner,
        key=event.key,
        rule=event.rule,
        name=event.name,
        opened_at=event.opened_at,
        changed_at=event.at,
        ended_at=event.ended_at,
        count=event.count,
        auto_clear=event.auto_clear,
        rules=event.rules,
        values=event.values,
        by=event.by,
        note=event.note,
    )


class Alerts:
    """Those that are not over, and those that have just ended. Every method answers the event that tells of it."""

    def __init__(self) -> None:
        self.live: dict[str, Alert] = {}
        # (device, owner, key) -> the newest one, live or ended by itself a moment ago.
        self._by_key: dict[tuple[str, str, str], Alert] = {}

    def forget_name(self, account: str) -> None:
        """``account`` is named by none any more."""
        for alert in list(self._by_key.values()):
            if alert.by == account:
                alert.by = ERASED
            if alert.owner == account:
                del self._by_key[alert.device, account, alert.key]
                alert.owner = ERASED
                self._by_key[alert.device, ERASED, alert.key] = alert

    def load(self, alerts: Iterable[Alert]) -> None:
        """Take up what is stored, oldest first."""
        for alert in alerts:
            self._keep(alert)

    def fired(
        self,
        fresh_id: str,
        device: str,
        owner: str,
        rule: str,
        name: str,
        action: dict[str, Any],
        text: str,
        values: dict[str, Any],
        at: int,
    ) -> AlertChanged:
        """A rule fired whose ``action`` (a checked ``alert``) asks for attention."""
        key = action.get("key") or rule
        severity, auto_clear = action["severity"], action.get("auto_clear", True)
        known = self._by_key.get((device, owner, key))
        if known is None or (known.state not in LIVE and at - known.ended_at > REOPEN_MS):
            alert = Alert(
                id=fresh_id,
                device=device,
                state=OPEN,
                severity=severity,
                text=text,
                owner=owner,
                key=key,
                rule=rule,
                name=name,
                opened_at=at,
                changed_at=at,
                auto_clear=auto_clear,
                rules=[rule],
                values=values,
            )
            return self._changed(alert, "opened", at)
        rules = known.rules if rule in known.rules else [*known.rules, rule]
        changes: dict[str, Any] = {"rules": rules, "values": values, "count": known.count + 1}
        worse = SEVERITIES.index(severity) > SEVERITIES.index(known.severity)
        if worse or known.rule == rule:
            changes |= {"severity": severity, "text": text, "rule": rule, "name": name, "auto_clear": auto_clear}
        if known.state not in LIVE:
            return self._changed(known, "reopened", at, state=OPEN, ended_at=0, **changes)
        if worse:
            # What was seen was less than this.
            return self._changed(known, "escalated", at, state=OPEN, **changes)
        return self._changed(known, "repeated", at, **changes)

    def raised(
        self,
        fresh_id: str,
        device: str,
        owner: str,
        source: str,
        key: str,
        name: str,
        severity: str,
        text: str,
        values: dict[str, Any],
        at: int,
    ) -> AlertChanged:
        """Something that no rule found asks for attention: always a new alert, which a person has to resolve."""
        alert = Alert(
            id=fresh_id,
            device=device,
            state=OPEN,
            severity=severity,
            text=text,
            owner=owner,
            key=key,
            rule=source,
            name=name,
            opened_at=at,
            changed_at=at,
            auto_clear=False,
            values=values,
        )
        return self._changed(alert, "opened", at)

    def cleared(self, rule: str, device: str, at: int, note: str = "") -> list[AlertChanged]:
        """A rule is no longer true of a device."""
        found = []
        for alert in [one for one in self.live.values() if one.device == device and rule in one.rules]:
            rules = [one for one in alert.rules if one != rule]
            if rules or not alert.auto_clear:
                # Nothing to tell, and nothing that a restart would not find out.
                alert.rules = rules
            else:
                found.append(self._changed(alert, "cleared", at, "", note, state=CLEARED, ended_at=at, rules=[]))
        return found

    def acknowledge(self, alert: Alert, by: str, note: str, at: int) -> AlertChanged:
        """Somebody has seen it. Raises :class:`Conflict` when it is over or seen already."""
        if alert.state != OPEN:
            raise Conflict(f"the alert is {alert.state}, only an open one can be acknowledged")
        return self._changed(alert, "acknowledged", at, by, note, state=ACKNOWLEDGED)

    def resolve(self, alert: Alert, by: str, note: str, at: int) -> AlertChanged:
        """Somebody says that it is over. Raises :class:`Conflict` when it is already."""
        if alert.state not in LIVE:
            raise Conflict(f"the alert is {alert.state} already")
        return self._changed(alert, "resolved", at, by, note, state=RESOLVED, ended_at=at, rules=[])

    def forget(self, device: str) -> None:
        """The device is gone, and its alerts with it."""
        for key in [key for key in self._by_key if key[0] == device]:
            self.live.pop(self._by_key.pop(key).id, None)

    def _changed(
        self, alert: Alert, change: str, at: int, by: str = "", note: str = "", **changes: Any
    ) -> AlertChanged:
        later = msgspec.structs.replace(alert, changed_at=at, by=by, note=note, **changes)
        self._keep(later)
        fields = msgspec.structs.asdict(later)
        del fields["changed_at"]
        return AlertChanged(at=at, change=change, **fields)

    def _keep(self, alert: Alert) -> None:
        if len(self._by_key) > 2 * len(self.live) + _ENDED_MOST:
            past = alert.changed_at - REOPEN_MS
            self._by_key = {k: one for k, one in self._by_key.items() if one.state in LIVE or one.ended_at > past}
        key = (alert.device, alert.owner, alert.key)
        if alert.state in LIVE:
            self.live[alert.id] = alert
            self._by_key[key] = alert
            return
        self.live.pop(alert.id, None)
        if alert.state == CLEARED:
            self._by_key[key] = alert
        else:
            self._by_key.pop(key, None)
