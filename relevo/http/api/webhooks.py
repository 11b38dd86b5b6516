"""``/api/v1/webhooks``: events sent to other programs, see ``docs/webhooks.md``."""

import secrets
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.deliveries import DEAD, DELIVERED, DeliveriesForgotten, Delivery, WebhookProgress
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.webhooks import ROTATION_MS, Webhook, check_webhook, message_id
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.times import iso
from relevo.http.api.webhook_bodies import (
    DeliveryPage,
    Replayed,
    Tried,
    WebhookChange,
    WebhookIn,
    WebhookOut,
    WebhookPage,
)
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.store import webhooks as store

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

MASK = "***"
Id = Annotated[str, Path(max_length=64)]
Seq = Annotated[int, Path(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=500)]


def _render(wired: Services, webhook: Webhook, secret: str = MASK) -> dict[str, Any]:
    hooks, now = wired.webhooks, wired.clock.now_ms()
    whole: dict[str, Any] = msgspec.to_builtins(webhook)
    standing = hooks.standing(webhook.id)
    return whole | {
        "secret": secret,
        "former_secret_until": iso(webhook.former_until) if now < webhook.former_until else None,
        "created": iso(webhook.created_at),
        "position": standing.position,
        "behind": max(0, wired.pipeline.committed_seq - standing.position),
        "waiting": hooks.waiting(webhook.id),
        "dead_letters": hooks.dead[webhook.id],
        "failing_since": iso(standing.failing_since),
    }


def _shown(one: Delivery) -> dict[str, Any]:
    return {
        "seq": one.seq,
        "message_id": message_id(one.webhook, one.seq),
        "device": one.device or None,
        "kind": one.kind,
        "state": one.state,
        "attempts": one.attempts,
        "taken": iso(one.taken_at),
        "last": iso(one.last_at),
        "next": iso(one.next_at) if one.state not in (DEAD, DELIVERED) else None,
        "status": one.status or None,
        "error": one.error,
        "answer": one.answer,
    }


def _sees(identity: Identity, webhook: Webhook) -> bool:
    return identity.role is Role.ADMINISTRATOR or webhook.owner == identity.name


def _find(wired: Services, identity: Identity, webhook_id: str) -> Webhook:
    webhook = wired.webhooks.all.get(webhook_id)
    if webhook is None or not _sees(identity, webhook):
        raise NotFound(f"no webhook {webhook_id!r}")
    return webhook


def _owner(wired: Services, identity: Identity, asked: str | None) -> str:
    """Whose it is to be. Raises :class:`Forbidden` and :class:`Invalid`."""
    if not asked or asked == identity.name:
        return identity.name
    if identity.role is not Role.ADMINISTRATOR:
        raise Forbidden("only administrators make webhooks that belong to others")
    if asked not in wired.auth.people.accounts:
        raise Invalid("account_unknown", f"owner: no user {asked!r}", [FieldError("owner", f"no user {asked!r}")])
    return asked


def _check(wired: Services, webhook: Webhook) -> None:
    """Raises :class:`Invalid` naming the field."""
    check_webhook(webhook, wired.webhooks.kinds)
    wired.outbound.check(webhook.url, webhook.allow_private)


def _may_be_private(identity: Identity) -> None:
    if identity.role is not Role.ADMINISTRATOR:
        raise Forbidden("only administrators decide where a webhook with allow_private goes, and who has one")


@router.post("", response_model=WebhookOut, status_code=201)
async def create(
    request: Request, response: Response, wired: Wired, identity: Operator, body: WebhookIn
) -> dict[str, Any]:
    """Have events sent to a program of yours. The secret is in this answer and never shown again."""
    owner = _owner(wired, identity, body.owner)
    if body.allow_private:
        _may_be_private(identity)
    most = wired.settings.webhooks.per_owner
    if sum(one.owner == owner for one in wired.webhooks.all.values()) >= most:
        raise Conflict(f"{owner!r} has {most} webhooks, which is the limit (webhooks.per_owner)")
    webhook = Webhook(
        id=new_id(),
        owner=owner,
        by=identity.name,
        salt=secrets.token_hex(8),
        created_at=wired.clock.now_ms(),
        **body.model_dump(exclude={"owner"}),
    )
    _check(wired, webhook)
    begins = WebhookProgress(webhook.id, wired.pipeline.committed_seq)
    audited = wired.audited(request, identity, "webhook.create", webhook.id, {"name": webhook.name, "owner": owner})
    await wired.pipeline.accept([Kept(begins), Kept(webhook), audited])
    response.headers["Location"] = f"/api/v1/webhooks/{webhook.id}"
    response.headers["Cache-Control"] = "no-store"
    return _render(wired, webhook, wired.webhooks.secret(webhook))


@router.get("", response_model=WebhookPage)
async def page(
    wired: Wired,
    identity: Operator,
    limit: Limit = 50,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=64, description="Part of the name, the URL or the owner.")] = "",
) -> dict[str, Any]:
    """Your webhooks, administrators see all; newest first."""
    before = decode_cursor(cursor, 2)
    wanted = search.casefold()
    mine = [
        one
        for one in wired.webhooks.all.values()
        if _sees(identity, one) and any(wanted in text.casefold() for text in (one.name, one.url, one.owner))
    ]
    mine.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if before is not None:
        after = decode_numbers(encode_cursor(before[0]), 1)
        mine = [one for one in mine if after and (one.created_at, one.id) < (after[0], before[1])]
    shown = mine[:limit]
    following = encode_cursor(shown[-1].created_at, shown[-1].id) if len(mine) > limit else None
    return {"items": [_render(wired, one) for one in shown], "next": following}


@router.get("/{webhook_id}", response_model=WebhookOut)
async def one(wired: Wired, identity: Operator, webhook_id: Id) -> dict[str, Any]:
    """One webhook and how it is doing."""
    return _render(wired, _find(wired, identity, webhook_id))


@router.patch("/{webhook_id}", response_model=WebhookOut)
async def change(
    request: Request, wired: Wired, identity: Operator, webhook_id: Id, body: WebhookChange
) -> dict[str, Any]:
    """Change what is given. Switched on again, it goes on where it stopped."""
    webhook = _find(wired, identity, webhook_id)
    given = body.model_fields_set
    if not given - {"from_now"}:
        message = "nothing to change: give any field of a webhook"
        raise Invalid("empty", message, [FieldError("body", message)])
    changes = body.model_dump(exclude_unset=True, exclude={"from_now", "owner"})
    if "owner" in given and body.owner != webhook.owner:
        changes["owner"] = _owner(wired, identity, body.owner)
    again = changes.get("enabled") is True and not webhook.enabled
    if "enabled" in given:
        changes["disabled_reason"] = "" if body.enabled else f"by {identity.name}"
    changed = msgspec.structs.replace(webhook, **changes)
    if changed.allow_private and (changed.url, changed.owner) != (webhook.url, webhook.owner):
        _may_be_private(identity)
    if changed.allow_private and not webhook.allow_private:
        _may_be_private(identity)
    _check(wired, changed)
    entries: list[Any] = []
    if again and body.from_now:
        entries = [DeliveriesForgotten(webhook_id, "waiting"), Kept(_now(wired, webhook_id))]
    detail = {"changes": sorted(given)}
    audited = wired.audited(request, identity, "webhook.change", webhook_id, detail)
    await wired.pipeline.accept([*entries, Kept(changed), audited])
    return _render(wired, changed)


def _now(wired: Services, webhook_id: str) -> WebhookProgress:
    return WebhookProgress(webhook_id, wired.pipeline.committed_seq)


@router.delete("/{webhook_id}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Operator, webhook_id: Id) -> None:
    """Remove it, with what waits and its dead letters."""
    webhook = _find(wired, identity, webhook_id)
    audited = wired.audited(request, identity, "webhook.delete", webhook_id, {"name": webhook.name})
    gone: list[RecordChange] = [
        Dropped(Webhook, webhook_id),
        Dropped(WebhookProgress, webhook_id),
        DeliveriesForgotten(webhook_id),
    ]
    await wired.pipeline.accept([*gone, audited])


@router.post("/{webhook_id}/test", response_model=Tried)
async def test(request: Request, wired: Wired, identity: Operator, webhook_id: Id) -> dict[str, Any]:
    """Send one message of type ``test`` now, also while it is switched off, and say what came of it."""
    webhook = _find(wired, identity, webhook_id)
    tried = await wired.webhooks.test(webhook)
    wired.audit(request, identity, "webhook.test", webhook_id, {"status": tried.status})
    return {"delivered": tried.ok, "status": tried.status or None, "error": tried.error, "answer": tried.answer}


@router.post("/{webhook_id}/rotate", response_model=WebhookOut)
async def rotate(
    request: Request, response: Response, wired: Wired, identity: Operator, webhook_id: Id
) -> dict[str, Any]:
    """A new secret, in this answer alone. For 24 hours the old one signs as well."""
    webhook = _find(wired, identity, webhook_id)
    until = wired.clock.now_ms() + ROTATION_MS
    changed = msgspec.structs.replace(webhook, salt=secrets.token_hex(8), former_salt=webhook.salt, former_until=until)
    await wired.pipeline.accept([Kept(changed), wired.audited(request, identity, "webhook.rotate", webhook_id)])
    response.headers["Cache-Control"] = "no-store"
    return _render(wired, changed, wired.webhooks.secret(changed))


@router.get("/{webhook_id}/deliveries", response_model=DeliveryPage)
async def deliveries(
    wired: Wired,
    identity: Operator,
    webhook_id: Id,
    state: Annotated[Literal["", "waiting", "dead", "delivered"], Query()] = "",
    limit: Limit = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What failed and waits, what was given up, and the last hundred that arrived since the server started."""
    webhook = _find(wired, identity, webhook_id)
    return await _page(wired, webhook, state, limit, cursor)


@router.get("/{webhook_id}/dead-letters", response_model=DeliveryPage)
async def dead_letters(
    wired: Wired, identity: Operator, webhook_id: Id, limit: Limit = 50, cursor: str | None = None
) -> dict[str, Any]:
    """What was given up and can be replayed."""
    return await _page(wired, _find(wired, identity, webhook_id), DEAD, limit, cursor)


async def _page(wired: Services, webhook: Webhook, state: str, limit: int, cursor: str | None) -> dict[str, Any]:
    position = decode_numbers(cursor, 1)
    before = position[0] if position else None
    found: list[Delivery] = []
    if state != DELIVERED:
        found = await wired.readers.run_core(store.page, webhook.id, limit + 1, before, state)
    if state in ("", DELIVERED):
        held = {one.seq for one in found}
        found += [
            one
            for one in wired.webhooks.arrived(webhook.id)
            if one.seq not in held and (before is None or one.seq < before)
        ]
        found.sort(key=lambda one: one.seq, reverse=True)
    following = encode_cursor(found[limit - 1].seq) if len(found) > limit else None
    return {"items": [_shown(one) for one in found[:limit]], "next": following}


@router.post("/{webhook_id}/dead-letters/replay", response_model=Replayed)
async def replay_all(request: Request, wired: Wired, identity: Operator, webhook_id: Id) -> dict[str, Any]:
    """Try all dead letters again, oldest first, as many as there is room for."""
    webhook = _find(wired, identity, webhook_id)
    count = await wired.webhooks.replay(webhook.id)
    wired.audit(request, identity, "webhook.replay", webhook_id, {"count": count})
    return {"replayed": count, "left": wired.webhooks.dead[webhook_id]}


@router.post("/{webhook_id}/dead-letters/{seq}/replay", response_model=Replayed)
async def replay_one(request: Request, wired: Wired, identity: Operator, webhook_id: Id, seq: Seq) -> dict[str, Any]:
    """Try one dead letter again, under the same ``webhook-id``."""
    webhook = _find(wired, identity, webhook_id)
    if not await wired.webhooks.replay(webhook.id, seq):
        raise NotFound(f"no dead letter {seq} of this webhook")
    wired.audit(request, identity, "webhook.replay", webhook_id, {"seq": seq})
    return {"replayed": 1, "left": wired.webhooks.dead[webhook_id]}
