"""The app's webhooks (contract thingsnxt, section 4): webhooks like any other in other words."""

import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity
from relevo.domain.deliveries import DeliveriesForgotten, WebhookProgress
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.webhooks import NAME_LIMIT, THINGSNXT, URL_LIMIT, Webhook, check_webhook
from relevo.errors import NotFound
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.http.thingsnxt.rates import limited
from relevo.http.thingsnxt.shapes import MASK, user_id

router = APIRouter(tags=["thingsnxt"], dependencies=[limited])

# What this contract calls its events, and which kinds of ours they are.
_EVENTS = {
    "telemetry_update": "telemetry",
    "status_update": "presence",
    "notification": "notification",
    "device_added": "device",
    "device_removed": "device",
}


class NewWebhook(BaseModel):
    """``events`` in the contract's words; none of them is telemetry."""

    url: Annotated[str, Field(min_length=1, max_length=URL_LIMIT)]
    name: Annotated[str, Field(max_length=NAME_LIMIT)] = ""
    events: Annotated[list[str], Field(max_length=32)] = []
    is_active: bool = True


class WebhookChange(BaseModel):
    url: Annotated[str | None, Field(min_length=1, max_length=URL_LIMIT)] = None
    name: Annotated[str | None, Field(min_length=1, max_length=NAME_LIMIT)] = None
    events: Annotated[list[str] | None, Field(max_length=32)] = None
    is_active: bool | None = None


@router.get("/webhooks", summary="One's webhooks")
async def webhooks(wired: Wired, identity: Operator) -> list[dict[str, Any]]:
    mine = [one for one in wired.webhooks.all.values() if one.owner == identity.name]
    return [_shown(one) for one in sorted(mine, key=lambda one: (one.created_at, one.id))]


@router.post("/webhooks", summary="Have events sent to a program of yours")
async def create(
    request: Request, response: Response, wired: Wired, identity: Operator, body: NewWebhook
) -> dict[str, Any]:
    """Signed in ``X-Webhook-Signature`` with the secret, which is in this answer and never shown again."""
    most = wired.settings.webhooks.per_owner
    if sum(one.owner == identity.name for one in wired.webhooks.all.values()) >= most:
        raise HTTPException(400, f"At most {most} webhooks a person; delete one")
    made = Webhook(
        id=new_id(),
        name=body.name or "webhook",
        url=body.url,
        owner=identity.name,
        by=identity.name,
        salt=secrets.token_hex(8),
        created_at=wired.clock.now_ms(),
        kinds=_kinds(body.events or ["telemetry_update"]),
        format=THINGSNXT,
        enabled=body.is_active,
    )
    _check(wired, made)
    begins = WebhookProgress(made.id, wired.pipeline.committed_seq)
    audited = wired.audited(request, identity, "webhook.create", made.id, {"name": made.name})
    await wired.pipeline.accept([Kept(begins), Kept(made), audited])
    response.headers["Cache-Control"] = "no-store"
    return _shown(made, wired.webhooks.secret(made))


@router.get("/webhooks/{id}", summary="One of one's webhooks")
async def one_webhook(wired: Wired, identity: Operator, id: str) -> dict[str, Any]:  # noqa: A002
    return _shown(_find(wired, identity, id))


@router.patch("/webhooks/{id}", summary="Change a webhook")
async def change(request: Request, wired: Wired, identity: Operator, id: str, body: WebhookChange) -> dict[str, Any]:  # noqa: A002
    webhook = _find(wired, identity, id)
    changes: dict[str, Any] = {
        name: value for name, value in (("url", body.url), ("name", body.name)) if value is not None
    }
    if body.events is not None:
        changes["kinds"] = _kinds(body.events)
    if body.is_active is not None:
        changes |= {"enabled": body.is_active, "disabled_reason": "" if body.is_active else f"by {identity.name}"}
    changed = msgspec.structs.replace(webhook, **changes)
    _check(wired, changed)
    audited = wired.audited(request, identity, "webhook.change", webhook.id, {"changes": sorted(changes)})
    await wired.pipeline.accept([Kept(changed), audited])
    return _shown(changed)


@router.put("/webhooks/{id}", summary="Change a webhook, as PATCH does")
async def put(request: Request, wired: Wired, identity: Operator, id: str, body: WebhookChange) -> dict[str, Any]:  # noqa: A002
    return await change(request, wired, identity, id, body)


@router.delete("/webhooks/{id}", summary="Remove a webhook")
async def delete(request: Request, wired: Wired, identity: Operator, id: str) -> dict[str, Any]:  # noqa: A002
    webhook = _find(wired, identity, id)
    gone: list[RecordChange] = [
        Dropped(Webhook, webhook.id),
        Dropped(WebhookProgress, webhook.id),
        DeliveriesForgotten(webhook.id),
    ]
    audited = wired.audited(request, identity, "webhook.delete", webhook.id, {"name": webhook.name})
    await wired.pipeline.accept([*gone, audited])
    return {"message": "Webhook deleted"}


def _find(wired: Services, identity: Identity, webhook_id: str) -> Webhook:
    found = wired.webhooks.all.get(webhook_id)
    if found is None or found.owner != identity.name:
        raise NotFound("Webhook not found")
    return found


def _check(wired: Services, webhook: Webhook) -> None:
    check_webhook(webhook, wired.webhooks.kinds)
    wired.outbound.check(webhook.url, webhook.allow_private)


def _kinds(events: list[str]) -> list[str]:
    """The kinds of this contract's events; the words of the native API are taken as well."""
    return list(dict.fromkeys(_EVENTS.get(one, one) for one in events))


def _shown(one: Webhook, secret: str = MASK) -> dict[str, Any]:
    return {
        "id": one.id,
        "_id": one.id,
        "user_id": user_id(one.owner),
        "name": one.name,
        "url": one.url,
        "events": [name for name, kind in _EVENTS.items() if kind in one.kinds],
        "is_active": one.enabled,
        "secret": secret,
        "created_at": iso(one.created_at),
    }
