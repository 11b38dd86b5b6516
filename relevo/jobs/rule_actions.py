"""What rules do when they fire and clear: all of it in the name of their owner, with the rights of that moment.

Commands go first, each with a key made from the firing, and what tells of the firing after them: a server that goes
down in between does it again when it comes back, and nobody is told twice.
"""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from relevo.clock import Clock
from relevo.dispatch import new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.actions import Order, order_of
from relevo.domain.alerts import Alerts
from relevo.domain.devices import Device, Registry
from relevo.domain.events import AlertChanged, Noticed, RuleCleared, RuleFired, WebhookAsked
from relevo.domain.firings import Fired, Outcome
from relevo.domain.grants import Right
from relevo.domain.people import People
from relevo.domain.rule_actions import MOVING, filled, filled_body
from relevo.domain.rules import Rule
from relevo.domain.targets import meant
from relevo.domain.webhooks import Webhook
from relevo.errors import Conflict, Excluded, Invalid, QueueFull, RelevoError, StoreUnavailable
from relevo.jobs.acting import Acting
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Entry, Pipeline
from relevo.redaction import redact
from relevo.refusals import Refusals

log = get_logger("relevo.jobs")

_AT_ONCE: Final = 64
_DETAIL: Final = 300
_TOLD: Final = frozenset({"opened", "reopened", "escalated", "cleared"})
# A mark instead of a word: rules are named in the language of those who make them.
_OVER: Final = "\N{CHECK MARK}"


class Announce(Protocol):
    """Sends an MQTT message in the server's name. Raises :class:`Invalid` for a topic that is not free."""

    def __call__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None: ...


class _Call(NamedTuple):
    """One thing to ask of one device."""

    rule: Rule
    device: str
    order: Order
    key: str


class RuleActions:
    """Carries out what rules ask for."""

    def __init__(
        self,
        alerts: Alerts,
        notifications: Notifications,
        acting: Acting,
        pipeline: Pipeline,
        registry: Registry,
        people: People,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self.alerts = alerts
        self._notifications = notifications
        self._acting = acting
        self._pipeline = pipeline
        self._registry = registry
        self._people = people
        self._refusals = refusals
        self._clock = clock
        self.announce: Announce | None = None
        # Those there are, by id.
        self.webhooks: Mapping[str, Webhook] = {}
        # What was told of a device last, by rule: the same is not told again with every firing.
        self._told: dict[tuple[str, str], str] = {}

    async def do(self, outcomes: list[tuple[Outcome, Rule]]) -> None:
        """Act on ``outcomes`` in their order. Raises :class:`QueueFull` and :class:`StoreUnavailable`, to be called
        again with the same."""
        if self._pipeline.full:
            raise QueueFull("too much is waiting to be stored")
        now = self._clock.now_ms()
        moves = [one for one in outcomes if not self._late(*one, now)]
        calls = [call for outcome, rule in moves for call in self._calls(outcome, rule)]
        for n in range(0, len(calls), _AT_ONCE):
            await asyncio.gather(*(self._ask(call) for call in calls[n : n + _AT_ONCE]))
        events: list[Entry] = []
        for outcome, rule in outcomes:
            if self._registry.get(outcome.device) is None:
                continue
            events += self._story(outcome, rule, now)
            if not self._late(outcome, rule, now):
                self._publish(outcome, rule)
        if events:
            # However long that takes: alerts have changed in memory, so it may not be done again.
            stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pipeline.submit(events, lambda future, _: future.done() or future.set_result(None), stored)
            await stored

    def _late(self, outcome: Outcome, rule: Rule, now: int) -> bool:
        return now - outcome.at > rule.late_limit_s * 1000

    def _story(self, outcome: Outcome, rule: Rule, now: int) -> list[Entry]:
        """What is told of it, with the alerts that it opens or ends and the people who are to know."""
        about = self._about(outcome, rule)
        if not isinstance(outcome, Fired):
            note = "" if rule.enabled and rule.owner else "its rule is switched off or gone"
            ended: list[Entry] = [RuleCleared(outcome.device, now, rule.id, rule.name, outcome.at)]
            for alert in self.alerts.cleared(rule.id, outcome.device, now, note):
                ended += [alert, *self._tell_of(alert, rule)]
            ended += self._to_webhooks(outcome, rule, rule.clear_actions, about, now)
            return ended + self._notify(outcome, rule, rule.clear_actions, about)
        late = self._late(outcome, rule, now)
        events: list[Entry] = [
            RuleFired(outcome.device, now, rule.id, rule.name, outcome.at, outcome.since, outcome.values, late)
        ]
        for action in rule.actions:
            if "alert" in action:
                body = action["alert"]
                text = filled(body["text"], about)
                alert = self.alerts.fired(
                    new_id(), outcome.device, rule.owner, rule.id, rule.name, body, text, outcome.values, now
                )
                events += [alert, *self._tell_of(alert, rule)]
        events += self._to_webhooks(outcome, rule, rule.actions, about, now)
        return events + self._notify(outcome, rule, rule.actions, about)

    def _to_webhooks(
        self, outcome: Outcome, rule: Rule, actions: list[dict[str, Any]], about: dict[str, Any], now: int
    ) -> list[Entry]:
        """What goes to webhooks by name: those of the rule's owner, and any for a rule of an administrator."""
        entries: list[Entry] = []
        for body in [one["webhook"] for one in actions if "webhook" in one]:
            webhook = self.webhooks.get(body["webhook"])
            account = self._people.accounts.get(rule.owner)
            if webhook is None or account is None:
                self._tell(rule, outcome.device, f"there is no webhook {body['webhook']!r}")
            elif webhook.owner != rule.owner and account.rank is not Role.ADMINISTRATOR:
                self._tell(rule, outcome.device, f"the webhook {webhook.name!r} is not one of {rule.owner!r}")
            else:
                said = {
                    "change": "fired" if isinstance(outcome, Fired) else "cleared",
                    "rule": rule.id,
                    "name": rule.name,
                    "at": outcome.at,
                    "values": outcome.values if isinstance(outcome, Fired) else {},
                    **filled_body(body.get("body", {}), about),
                }
                entries.append(WebhookAsked(outcome.device, now, webhook.id, rule.origin, said))
        return entries

    def _tell_of(self, alert: AlertChanged, rule: Rule) -> list[Entry]:
        """Whoever may view the device is told of an alert that is new, worse or over."""
        silent = any("alert" in one and not one["alert"].get("notify", True) for one in rule.actions)
        if alert.change not in _TOLD or silent:
            return []
        over = alert.change == "cleared"
        return self._notifications.prepare(
            "info" if over else alert.severity,
            rule.origin,
            f"{_OVER} {alert.name}" if over else alert.name,
            alert.text,
            device=alert.device,
            key=f"{alert.id}:{alert.change}",
        )

    def _notify(
        self, outcome: Outcome, rule: Rule, actions: list[dict[str, Any]], about: dict[str, Any]
    ) -> list[Entry]:
        """What people are told by ``notify``: those who may view the device, for it is about that."""
        entries: list[Entry] = []
        device = self._registry.get(outcome.device)
        for body in [one["notify"] for one in actions if "notify" in one]:
            named = body.get("to") or [rule.owner]
            may = [name for name in named if device is not None and self._may_view(name, device)]
            if len(may) < len(named):
                left = ", ".join(repr(name) for name in named if name not in may)
                self._tell(rule, outcome.device, f"{left} may not view the device, or may not sign in: not told")
            if may:
                title = filled(body.get("title") or rule.name, about)
                text = filled(body["text"], about)
                entries += self._notifications.prepare(
                    body.get("severity", "info"), rule.origin, title, text, device=outcome.device, to=may
                )
        return entries

    def tell_owner(self, rule: Rule, device: str, text: str) -> list[Entry]:
        """Tell the owner something about the rule itself; to be submitted at once."""
        return self._notifications.prepare(
            "warning", rule.origin, rule.name, text, device=device, to=[rule.owner], key=f"{rule.id}:self"
        )

    def _may_view(self, name: str, device: Device) -> bool:
        account = self._people.accounts.get(name)
        if account is None or account.disabled:
            return False
        return self._people.right(Identity(account.name, account.rank), device) >= Right.VIEW

    def _about(self, outcome: Outcome, rule: Rule) -> dict[str, Any]:
        device = self._registry.get(outcome.device)
        values = outcome.values if isinstance(outcome, Fired) else {}
        return {
            "device": outcome.device,
            "name": device.name if device is not None else outcome.device,
            "rule": rule.name,
            **values,
        }

    # Moving things

    def _calls(self, outcome: Outcome, rule: Rule) -> list[_Call]:
        actions = rule.actions if isinstance(outcome, Fired) else rule.clear_actions
        calls = []
        for n, action in enumerate(actions):
            ((kind, body),) = action.items()
            if kind not in MOVING:
                continue
            if "device" not in body and "selection" not in body:
                body = {**body, "device": outcome.device}
            order = order_of({kind: body})
            chosen, left_out, problem = meant(order.selection, rule.owner, self._people, self._registry)
            for device in left_out:
                where = device if self._registry.get(device) is not None else outcome.device
                self._tell(rule, where, problem or f"{rule.owner!r} may not control {device!r}, or it does not exist")
            key = _key(rule.id, outcome.device, outcome.at, isinstance(outcome, Fired), n)
            calls += [_Call(rule, device, order, key) for device in chosen]
        return calls

    async def _ask(self, call: _Call) -> None:
        rule, device = call.rule, call.device
        try:
            await self._acting.ask(device, call.order, rule.owner, rule.origin, call.key)
        except (QueueFull, StoreUnavailable):
            raise
        except Excluded as error:
            self._tell(rule, device, str(error))
            return
        except Conflict:
            # Asked for before the rule was changed.
            return
        except RelevoError as error:
            self._tell(rule, device, str(error))
            return
        self._told.pop((rule.id, device), None)

    def _publish(self, outcome: Outcome, rule: Rule) -> None:
        actions = rule.actions if isinstance(outcome, Fired) else rule.clear_actions
        for action in actions:
            if "publish" not in action or self.announce is None:
                continue
            account = self._people.accounts.get(rule.owner)
            if account is None or account.rank is not Role.ADMINISTRATOR:
                self._tell(rule, outcome.device, "only rules of administrators may publish")
                continue
            body, about = action["publish"], self._about(outcome, rule)
            topic = filled(body["topic"], about)
            try:
                self.announce(topic, _payload(body, about), body.get("qos", 0), body.get("retain", False))
            except Invalid as problem:
                self._tell(rule, outcome.device, str(problem))

    def _tell(self, rule: Rule, device: str, text: str) -> None:
        """Tell it once, until it works again."""
        if self._told.get((rule.id, device)) == text:
            return
        if len(self._told) > 10_000:
            self._told.clear()
        self._told[rule.id, device] = text
        self._refusals.notices["rule_failed"] += 1
        detail = redact(f"rule {rule.name!r} ({rule.id}): {text}")[:_DETAIL]
        self._pipeline.submit([Noticed(device, self._clock.now_ms(), "rule_failed", detail)])


def _payload(body: dict[str, Any], about: dict[str, Any]) -> bytes:
    """The bytes of a ``publish`` action: text with its places filled, anything else as JSON."""
    payload = body.get("payload", "")
    return filled(payload, about).encode() if isinstance(payload, str) else msgspec.json.encode(payload)


def _key(*parts: object) -> str:
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=16).hexdigest()
