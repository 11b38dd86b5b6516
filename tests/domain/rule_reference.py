"""A naive evaluator: at every second and every event it looks through all that was ever said, and remembers nothing.

Written from what the conditions promise, for one device; it shares no code with the real one. Times in whole seconds
after ``START``.
"""

from typing import Any

from relevo.domain.events import StateReported, TelemetryReceived
from relevo.domain.firings import Input, Presence
from tests.domain.rule_samples import START, arrival

# Time it was said, time it arrived, what was said.
Said = tuple[int, int, Any]


def seconds(event: Input) -> tuple[int, int]:
    """When it was said, by a clock that is never ahead, and when it arrived."""
    now = (arrival(event) - START) // 1000
    at = event.ts if isinstance(event, TelemetryReceived) else event.at  # type: ignore[union-attr]
    return min((at - START) // 1000, now), now


def fits(kind: str, body: dict[str, Any], event: Input) -> list[Any]:
    """What an event says to a condition: nothing, or one thing."""
    if kind == "presence":
        return [event.online] if isinstance(event, Presence) else []
    if kind == "state":
        if isinstance(event, StateReported) and body["path"] in event.state:
            return [event.state[body["path"]]]
        return []
    if isinstance(event, TelemetryReceived) and body["key"] in event.values:
        return [event.values[body["key"]]]
    return []


def accepted(kind: str, body: dict[str, Any], history: list[Input]) -> list[Said]:
    found: list[Said] = []
    for event in history:
        t, now = seconds(event)
        for value in fits(kind, body, event):
            ordered = kind == "rate" or (kind == "value" and body["op"] not in ("==", "!="))
            usable = not (ordered and isinstance(value, str))
            if usable and (not found or t >= found[-1][0]):
                found.append((t, now, value))
    return found


def compare(op: str, a: Any, b: Any) -> bool:
    if op in ("==", "!="):
        return (a == b) is (op == "==")
    above = a > b or (op.endswith("=") and a == b)
    below = a < b or (op.endswith("=") and a == b)
    return above if op[0] == ">" else below


def held(said: list[Said], enters: list[bool], leaves: list[bool], for_s: int, now: int) -> bool | None:
    """True since the first that enters after the last that leaves, and long enough."""
    if not said:
        return None
    last_left = max((n for n, left in enumerate(leaves) if left), default=-1)
    run = list(range(last_left + 1, len(said)))
    run = next((run[i:] for i, n in enumerate(run) if enters[n]), [])
    since = said[run[0]][0] if run else 0
    return any(now >= arrived + max(0, for_s - (t - since)) for t, arrived, _ in (said[n] for n in run))


def truth(node: dict[str, Any], history: list[Input], now: int, at_event: bool) -> bool | None:
    ((kind, body),) = node.items()
    if kind == "not":
        inner = truth(body, history, now, at_event)
        return None if inner is None else not inner
    if kind in ("all", "any"):
        inner_truths = [truth(one, history, now, at_event) for one in body]
        if (kind == "any") in inner_truths:
            return kind == "any"
        return None if None in inner_truths else kind == "all"
    if kind == "between":
        first, last = (int(body[name][:2]) * 3600 + int(body[name][3:]) * 60 for name in ("from", "to"))
        return first <= now % 86_400 < last
    if kind == "absent":
        heard = [0]
        for event in history:
            anything = not body["key"] and not isinstance(event, Presence)
            if anything or fits("value", body, event):
                heard.append(seconds(event)[1])
        return now - heard[-1] >= body["for_s"]
    said = accepted(kind, body, history)
    if kind == "value":
        op, than, band = body["op"], body["than"], body["hysteresis"]
        stays = than - band if op in (">", ">=") else than + band
        enters = [compare(op, value, than) for _, _, value in said]
        leaves = [not compare(op, value, stays) for _, _, value in said]
        return held(said, enters, leaves, body["for_s"], now)
    if kind == "presence":
        enters = [value == body["online"] for _, _, value in said]
        return held(said, enters, [not one for one in enters], body["for_s"], now)
    if kind == "state":
        return said[-1][2] == body["equals"] if said else None
    if kind == "changed":
        if not said:
            return None
        new = at_event and len(accepted(kind, body, history[:-1])) < len(said)
        return new and len(said) > 1 and said[-1][2] != said[-2][2]
    return rate(said, body)


def rate(said: list[Said], body: dict[str, Any]) -> bool | None:
    per = body["per_s"]
    samples: list[tuple[int, Any]] = []
    answer = None
    for t, _, value in said:
        old = [one for one in samples if one[0] <= t - per]
        if old:
            then, before = old[-1]
            answer = compare(body["op"], (value - before) / ((t - then) * 1000) * (per * 1000), body["than"])
        if not samples or (t - samples[-1][0]) * 16 >= per:
            samples.append((t, value))
    return answer


def firings(condition: dict[str, Any], cooldown: int, events: list[Input], end: int) -> list[str]:
    """As :func:`tests.domain.rule_samples.short` writes them."""
    found: list[str] = []
    fired_at, fired, last = 0, False, -cooldown

    def judge(history: list[Input], now: int, at: int, at_event: bool) -> None:
        nonlocal fired_at, fired, last
        now_true = truth(condition, history, now, at_event) is True
        if now_true and not fired and now - last >= cooldown:
            fired, fired_at, last = True, at, now
            found.append(f"+{at}")
        elif fired and not now_true:
            fired = False
            found.append(f"-{max(at, fired_at)}")

    count = 0
    for now in range(end + 1):
        judge(events[:count], now, now, False)
        while count < len(events) and seconds(events[count])[1] == now:
            count += 1
            at = seconds(events[count - 1])[0]
            judge(events[:count], now, at, True)
            judge(events[:count], now, at, False)
    return found
