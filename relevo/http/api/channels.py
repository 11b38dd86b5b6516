"""``/api/v1/notifications/channels``: the ways by which notices leave for a person."""

import secrets
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from relevo.domain.accounts import Identity, Role
from relevo.domain.channels import CHANNELS_MOST, SERVICES, URL_MOST, Channel, ChannelHealth, channels_of, enter, masked
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.notifications import SeverityName, bound_tests, only_managing
from relevo.http.api.times import iso
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"])
Digest = Literal["", "off", "hourly", "daily"]


class ServiceOut(BaseModel):
    """A service that everybody may enter, and the form of its URL."""

    scheme: str
    name: str
    form: str


class ServicePage(BaseModel):
    items: list[ServiceOut]
    next: str | None


class ChannelOut(BaseModel):
    """``url`` is shown masked. ``waiting`` are notices on their way; ``failing_since`` is ``None`` while it works."""

    id: str
    owner: str
    name: str
    kind: str
    url: str
    enabled: bool
    min_severity: str
    digest: str
    created_at: str | None
    sent_at: str | None
    failing_since: str | None
    error: str
    waiting: int


class ChannelPage(BaseModel):
    items: list[ChannelOut]
    next: str | None


class NewChannel(BaseModel):
    """``owner`` is the administrators' to give."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    url: str = Field(min_length=1, max_length=URL_MOST)
    enabled: StrictBool = True
    min_severity: SeverityName = "info"
    digest: Digest = ""
    owner: str | None = Field(default=None, min_length=1, max_length=64)


class ChannelChange(BaseModel):
    """Fields that are absent stay."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=64)
    url: str | None = Field(default=None, min_length=1, max_length=URL_MOST)
    enabled: StrictBool | None = None
    min_severity: SeverityName | None = None
    digest: Digest | None = None


class TestOutcome(BaseModel):
    """``detail`` says why not."""

    ok: bool
    detail: str


def _render(wired: Services, channel: Channel) -> dict[str, Any]:
    health = wired.notifications.health_of(channel.id)
    return {
        "id": channel.id,
        "owner": channel.account,
        "name": channel.name,
        "kind": channel.kind,
        "url": masked(channel),
        "enabled": channel.enabled,
        "min_severity": channel.min_severity,
        "digest": channel.digest,
        "created_at": iso(channel.created_at),
        "sent_at": iso(health.sent_at),
        "failing_since": iso(health.failing_since),
        "error": health.error,
        "waiting": sum(1 + one.more for one in wired.notifications.waiting.get(channel.id, {}).values()),
    }


def _find(wired: Services, identity: Identity, channel_id: str) -> Channel:
    channel = wired.notifications.channels.get(channel_id)
    if channel is None or (channel.account != identity.name and identity.role is not Role.ADMINISTRATOR):
        raise NotFound(f"no channel {channel_id!r}")
    return channel


def _owner(wired: Services, identity: Identity, asked: str | None) -> str:
    if not asked or asked == identity.name:
        return identity.name
    if identity.role is not Role.ADMINISTRATOR:
        raise Forbidden("only administrators make channels for others")
    if asked not in wired.auth.people.accounts:
        message = f"no user {asked!r}"
        raise Invalid("account_unknown", f"owner: {message}", [FieldError("owner", message, "account_unknown")])
    return asked


@router.get("/services", response_model=ServicePage)
async def list_services(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """What everybody may enter as a channel; anything else that Apprise knows is an administrator's to enter."""
    found = [{"scheme": scheme, "name": one.name, "form": one.form} for scheme, one in SERVICES.items()]
    if wired.settings.notifications.smtp_url:
        found.insert(0, {"scheme": "mailto", "name": "E-mail", "form": "mailto:NAME@HOST"})
    return {"items": found, "next": None}


@router.get("/channels", response_model=ChannelPage)
async def list_channels(
    wired: Wired, identity: Viewer, owner: Annotated[str | None, Query(max_length=64)] = None
) -> dict[str, Any]:
    """One's own, oldest first; administrators may ask for those of somebody else."""
    account = _owner(wired, identity, owner)
    found = channels_of(wired.notifications.channels.values(), account)
    return {"items": [_render(wired, one) for one in found], "next": None}


@router.post("/channels", status_code=201, response_model=ChannelOut)
async def create_channel(
    request: Request, wired: Wired, identity: Viewer, body: NewChannel, response: Response
) -> dict[str, Any]:
    """Add a way to oneself. Whether it works shows its test."""
    only_managing(identity)
    account = _owner(wired, identity, body.owner)
    if len(channels_of(wired.notifications.channels.values(), account)) >= CHANNELS_MOST:
        message = f"at most {CHANNELS_MOST} channels a person; delete one"
        raise Invalid("too_many_channels", message, [FieldError("body", message, "too_many_channels")])
    entered = _enter(wired, identity, body.url)
    channel = Channel(
        secrets.token_hex(8),
        account,
        body.name,
        entered.kind,
        entered.url,
        wired.clock.now_ms(),
        body.enabled,
        body.min_severity,
        body.digest,
    )
    told = wired.audited(request, identity, "channel.create", channel.id, {"kind": channel.kind, "owner": account})
    await wired.pipeline.accept([Kept(channel), told])
    response.headers["Location"] = f"/api/v1/notifications/channels/{channel.id}"
    return _render(wired, channel)


@router.get("/channels/{channel_id}", response_model=ChannelOut)
async def get_channel(wired: Wired, identity: Viewer, channel_id: str) -> dict[str, Any]:
    return _render(wired, _find(wired, identity, channel_id))


@router.patch("/channels/{channel_id}", response_model=ChannelOut)
async def change_channel(
    request: Request, wired: Wired, identity: Viewer, channel_id: str, body: ChannelChange
) -> dict[str, Any]:
    """Change one. Another URL is a fresh start; what waits leaves through it."""
    only_managing(identity)
    channel = _find(wired, identity, channel_id)
    changes = body.model_dump(exclude_none=True)
    if not changes:
        message = "nothing to change: give name, url, enabled, min_severity or digest"
        raise Invalid("empty", message, [FieldError("body", message)])
    told = {"changes": sorted(changes)}
    more: list[RecordChange] = []
    if "url" in changes:
        changes["kind"], changes["url"] = _enter(wired, identity, changes["url"])
        more.append(Dropped(ChannelHealth, channel_id))
    changed = msgspec.structs.replace(channel, **changes)
    if not changed.enabled:
        more += wired.notifications.without(channel_id)
    await wired.pipeline.accept(
        [Kept(changed), *more, wired.audited(request, identity, "channel.change", channel_id, told)]
    )
    return _render(wired, changed)


@router.delete("/channels/{channel_id}", status_code=204)
async def delete_channel(request: Request, wired: Wired, identity: Viewer, channel_id: str) -> None:
    """Remove it with what waits for it; the inbox has that still."""
    only_managing(identity)
    channel = _find(wired, identity, channel_id)
    told = wired.audited(request, identity, "channel.delete", channel_id, {"kind": channel.kind})
    await wired.pipeline.accept([Dropped(Channel, channel_id), *wired.notifications.without(channel_id), told])


@router.post("/channels/{channel_id}/test", response_model=TestOutcome)
async def test_channel(wired: Wired, identity: Viewer, channel_id: str) -> dict[str, Any]:
    """Send something now, past quiet hours and digests. Answers within 15 seconds whether it was taken, and why not."""
    only_managing(identity)
    channel = _find(wired, identity, channel_id)
    bound_tests(wired, identity)
    outcome = await wired.test_channel(channel)
    return {"ok": outcome.ok, "detail": outcome.detail}


def _enter(wired: Services, identity: Identity, url: str) -> Any:
    entered = enter(url, administrator=identity.role is Role.ADMINISTRATOR)
    if entered.kind == "email" and not wired.settings.notifications.smtp_url:
        message = "mail cannot be sent: an administrator has to set notifications.smtp_url first"
        raise Invalid("mail_not_set_up", f"url: {message}", [FieldError("url", message, "mail_not_set_up")])
    return entered
