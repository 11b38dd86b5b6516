"""``/api/v1/rules``: when something becomes true of a device, something is done."""

import inspect
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.bulk import Selection
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, Kept
from relevo.domain.rule_templates import TEMPLATES
from relevo.domain.rules import Rule, compile_rule
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.rule_bodies import (
    BacktestOut,
    FromTemplate,
    RuleChange,
    RuleIn,
    RuleOut,
    RulePage,
    ScopeIn,
    Span,
    Templates,
    TryRule,
)
from relevo.http.api.times import iso, parse_time
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

RULES_MOST = 500
_WEEK_MS = 7 * 86_400_000
Id = Annotated[str, Path(max_length=64)]


def _render(wired: Services, rule: Rule) -> dict[str, Any]:
    true_of, last = wired.rules.evaluator.standing(rule.id)
    whole: dict[str, Any] = msgspec.to_builtins(rule)
    return whole | {"created": iso(rule.created_at), "true_of": sorted(true_of), "last_fired": iso(max(0, last))}


def _sees(identity: Identity, rule: Rule) -> bool:
    return identity.role is Role.ADMINISTRATOR or rule.owner == identity.name


def _find(wired: Services, identity: Identity, rule_id: str) -> Rule:
    rule = wired.rules.all.get(rule_id)
    if rule is None or not _sees(identity, rule):
        raise NotFound(f"no rule {rule_id!r}")
    return rule


def _owner(wired: Services, identity: Identity, asked: str | None) -> str:
    """Whose it is to be. Raises :class:`Forbidden` and :class:`Invalid`."""
    if not asked or asked == identity.name:
        return identity.name
    if identity.role is not Role.ADMINISTRATOR:
        raise Forbidden("only administrators make rules that belong to others")
    if asked not in wired.auth.people.accounts:
        raise Invalid("account_unknown", f"owner: no user {asked!r}", [FieldError("owner", f"no user {asked!r}")])
    return asked


def _scope(body: ScopeIn) -> Selection:
    return Selection(tuple(body.devices), tuple(body.tags), body.type, body.site)


def _rule(wired: Services, identity: Identity, owner: str, body: RuleIn) -> Rule:
    return Rule(
        id=new_id(),
        owner=owner,
        by=identity.name,
        created_at=wired.clock.now_ms(),
        scope=_scope(body.scope),
        **body.model_dump(exclude={"owner", "scope"}),
    )


def _check(wired: Services, rule: Rule) -> None:
    """That it is sound, and that its owner may do what it does. Raises :class:`Invalid` naming the fields."""
    compile_rule(rule)
    account = wired.auth.people.accounts.get(rule.owner)
    if account is None or account.disabled:
        raise _wrong("owner", f"{rule.owner!r} may not sign in")
    people, identity = wired.auth.people, Identity(account.name, account.rank)
    for name in rule.scope.devices:
        device = wired.registry.get(name)
        if device is None or people.right(identity, device) < Right.VIEW:
            raise _wrong("scope.devices", f"names {name[:64]!r}, which is none that {rule.owner!r} may see")
    for field, actions in (("actions", rule.actions), ("clear_actions", rule.clear_actions)):
        for n, action in enumerate(actions):
            if "webhook" in action:
                webhook = wired.webhooks.all.get(action["webhook"]["webhook"])
                if webhook is None or (webhook.owner != rule.owner and account.rank is not Role.ADMINISTRATOR):
                    name = action["webhook"]["webhook"][:64]
                    raise _wrong(f"{field}.{n}.webhook.webhook", f"{name!r} is no webhook of {rule.owner!r}")
            if "publish" in action and account.rank is not Role.ADMINISTRATOR:
                raise _wrong(f"{field}.{n}.publish", "is for rules of administrators")


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("rule_invalid", f"{field} {message}", [FieldError(field, message, "rule_invalid")])


def _devices(wired: Services, rule: Rule) -> list[Device]:
    """The devices that a rule is about, of those that its owner may see."""
    account = wired.auth.people.accounts.get(rule.owner)
    if account is None:
        return []
    people, identity = wired.auth.people, Identity(account.name, account.rank)
    return [one for one in wired.registry.all() if rule.scope.fits(one) and people.right(identity, one) >= Right.VIEW]


async def _keep(
    request: Request, response: Response, wired: Services, identity: Identity, rule: Rule
) -> dict[str, Any]:
    if sum(one.owner == rule.owner for one in wired.rules.all.values()) >= RULES_MOST:
        raise Conflict(f"{rule.owner!r} has {RULES_MOST} rules, which is the limit")
    _check(wired, rule)
    detail = {"name": rule.name, "owner": rule.owner}
    await wired.pipeline.accept([Kept(rule), wired.audited(request, identity, "rule.create", rule.id, detail)])
    response.headers["Location"] = f"/api/v1/rules/{rule.id}"
    return _render(wired, rule)


@router.post("", response_model=RuleOut, status_code=201)
async def create(
    request: Request, response: Response, wired: Wired, identity: Operator, body: RuleIn
) -> dict[str, Any]:
    """Have something done when something becomes true of a device."""
    owner = _owner(wired, identity, body.owner)
    return await _keep(request, response, wired, identity, _rule(wired, identity, owner, body))


@router.get("", response_model=RulePage)
async def page(
    wired: Wired,
    identity: Operator,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=64, description="Part of the name or the owner.")] = "",
    device: Annotated[str, Query(max_length=64, description="Only those whose scope this device is in.")] = "",
) -> dict[str, Any]:
    """Your rules, administrators see all; newest first."""
    before = decode_cursor(cursor, 2)
    wanted = search.casefold()
    held = wired.registry.get(device) if device else None
    mine = [
        one
        for one in wired.rules.all.values()
        if _sees(identity, one)
        and (wanted in one.name.casefold() or wanted in one.owner.casefold())
        and (not device or (held is not None and one.scope.fits(held)))
    ]
    mine.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if before is not None:
        after = decode_numbers(encode_cursor(before[0]), 1)
        mine = [one for one in mine if after and (one.created_at, one.id) < (after[0], before[1])]
    shown = mine[:limit]
    following = encode_cursor(shown[-1].created_at, shown[-1].id) if len(mine) > limit else None
    return {"items": [_render(wired, one) for one in shown], "next": following}


@router.get("/templates", response_model=Templates)
async def templates(identity: Operator) -> dict[str, Any]:
    """Rules that many people want, ready but for their numbers."""
    items = []
    for name, make in TEMPLATES.items():
        wanted = _parameters(name)
        given = {one.name: "UTC" if one.name == "zone" else one.default for one in wanted}
        example = make("template", identity.name, scope=Selection(), **given)
        items.append(
            {
                "name": name,
                "description": " ".join((make.__doc__ or "").split()),
                "parameters": [
                    {
                        "name": one.name,
                        "type": "string" if one.annotation is str else "number",
                        "default": None if one.default is inspect.Parameter.empty else one.default,
                    }
                    for one in wanted
                ],
                "example": {"condition": example.condition, "actions": example.actions},
            }
        )
    return {"items": items}


@router.post("/templates/{name}", response_model=RuleOut, status_code=201)
async def create_from_template(
    request: Request, response: Response, wired: Wired, identity: Operator, name: Id, body: FromTemplate
) -> dict[str, Any]:
    """A rule of your own, made of a template."""
    if name not in TEMPLATES:
        raise NotFound(f"no template {name!r}")
    wanted = {one.name: one for one in _parameters(name)}
    wrong = [
        FieldError(f"arguments.{one[:32]}", f"is unknown; may be {', '.join(wanted)}")
        for one in body.arguments
        if one not in wanted
    ]
    for one in wanted.values():
        kind = str if one.annotation is str else float
        if one.name not in body.arguments:
            if one.default is inspect.Parameter.empty:
                wrong.append(FieldError(f"arguments.{one.name}", "is missing"))
        elif not isinstance(body.arguments[one.name], kind | int if kind is float else kind):
            wrong.append(FieldError(f"arguments.{one.name}", "must be a number" if kind is float else "must be a text"))
    if wrong:
        raise Invalid("rule_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
    made = TEMPLATES[name](new_id(), identity.name, scope=_scope(body.scope), **body.arguments)
    rule = msgspec.structs.replace(
        made,
        name=body.name or made.name,
        by=identity.name,
        created_at=wired.clock.now_ms(),
        enabled=body.enabled,
    )
    return await _keep(request, response, wired, identity, rule)


def _parameters(name: str) -> list[inspect.Parameter]:
    known = inspect.signature(TEMPLATES[name]).parameters.values()
    return [one for one in known if one.name not in ("rule_id", "owner", "scope")]


@router.post("/backtest", response_model=BacktestOut)
async def try_unkept(wired: Wired, identity: Operator, body: TryRule) -> dict[str, Any]:
    """What a rule would have done, before it is kept."""
    rule = _rule(wired, identity, _owner(wired, identity, body.rule.owner), body.rule)
    _check(wired, rule)
    return await _backtest(wired, rule, body)


@router.get("/{rule_id}", response_model=RuleOut)
async def one(wired: Wired, identity: Operator, rule_id: Id) -> dict[str, Any]:
    """One rule, and what it is true of."""
    return _render(wired, _find(wired, identity, rule_id))


@router.patch("/{rule_id}", response_model=RuleOut)
async def change(request: Request, wired: Wired, identity: Operator, rule_id: Id, body: RuleChange) -> dict[str, Any]:
    """Change what is given. Another condition begins anew; switched off, what it had fired is cleared."""
    rule = _find(wired, identity, rule_id)
    given = body.model_fields_set
    if not given:
        message = "nothing to change: give any field of a rule"
        raise Invalid("empty", message, [FieldError("body", message)])
    changes: dict[str, Any] = body.model_dump(include=given - {"owner", "scope"})
    if "scope" in given:
        changes["scope"] = _scope(body.scope)
    if "owner" in given and body.owner != rule.owner:
        changes["owner"] = _owner(wired, identity, body.owner)
    if changes.get("enabled"):
        changes["stopped"] = ""
    changed = msgspec.structs.replace(rule, **changes)
    if changed.enabled or given != {"enabled"}:
        _check(wired, changed)
    detail = {"changes": sorted(given)}
    await wired.pipeline.accept([Kept(changed), wired.audited(request, identity, "rule.change", rule_id, detail)])
    return _render(wired, changed)


@router.delete("/{rule_id}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Operator, rule_id: Id) -> None:
    """Remove it; its alerts clear."""
    rule = _find(wired, identity, rule_id)
    audited = wired.audited(request, identity, "rule.delete", rule_id, {"name": rule.name})
    await wired.pipeline.accept([Dropped(Rule, rule_id), audited])


@router.post("/{rule_id}/backtest", response_model=BacktestOut)
async def try_kept(wired: Wired, identity: Operator, rule_id: Id, body: Span) -> dict[str, Any]:
    """What the rule would have done, whether it is switched on or not."""
    return await _backtest(wired, _find(wired, identity, rule_id), body)


async def _backtest(wired: Services, rule: Rule, span: Span) -> dict[str, Any]:
    now = wired.clock.now_ms()
    end = parse_time(span.end, "to", now)
    begin = parse_time(span.begin, "from", max(0, end - _WEEK_MS))
    if begin >= end:
        raise Invalid("time_invalid", "from must be before to", [FieldError("from", "must be before to")])
    end = min(end, now)
    devices = [one for one in _devices(wired, rule) if not span.devices or one.id in span.devices]
    found = await wired.backtests.run(rule, devices, begin, end)
    return {
        "begin": iso(begin) or "1970-01-01T00:00:00.000Z",
        "end": iso(end),
        "through": iso(found.through) or "1970-01-01T00:00:00.000Z",
        "whole": found.whole,
        "events": found.events,
        "devices": len(devices),
        "count": found.count,
        "firings": [
            {
                "device": one.device,
                "since": iso(one.since),
                "begin": iso(one.begin),
                "end": iso(one.end),
                "values": one.values,
            }
            for one in found.firings
        ],
    }
