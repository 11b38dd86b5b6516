"""``/api/v1/notifications``: one's own inbox, and what one wants of it."""

import math
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from relevo.domain.accounts import Identity
from relevo.domain.notices import (
    MUTES_MOST,
    QUIET_MOST,
    TEXT_MOST,
    TITLE_MOST,
    Mute,
    NoticePreferences,
    check_preferences,
)
from relevo.domain.records import InboxDropped, InboxRead, Kept
from relevo.domain.timetables import Window
from relevo.domain.zones import check_zone
from relevo.errors import Forbidden, Invalid, NotFound, TooMany
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.times import iso, parse_time
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.store import inbox

router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"])

SeverityName = Literal["info", "warning", "critical"]
Choice = Literal["send", "now", "inbox", "off"]
_SOURCE = r"^[a-z_]{1,32}(:[A-Za-z0-9_.:-]{1,128})?$"


class NotificationOut(BaseModel):
    """``count`` is how often it was raised, ``last_at`` when that was last."""

    id: str
    device: str | None
    at: str
    severity: str
    source: str
    title: str
    text: str
    count: int
    last_at: str
    read_at: str | None


class NotificationPage(BaseModel):
    """``unread`` counts the whole inbox, whatever was asked for."""

    items: list[NotificationOut]
    next: str | None
    unread: int


class Unread(BaseModel):
    unread: int


class QuietWindow(BaseModel):
    """Local times of the days on which it begins; over midnight when ``to`` is before ``from``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(min_length=1, max_length=7)
    start: str = Field(alias="from", max_length=5)
    end: str = Field(alias="to", max_length=5)


class MutedSource(BaseModel):
    """``rule:ID``, ``device:ID`` or a kind alone (``rule``); without ``until`` for ever."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(pattern=_SOURCE)
    until: str | StrictInt | None = None


class MutedOut(BaseModel):
    source: str
    until: str | None


class Choices(BaseModel):
    """``send`` as the digest says, ``now`` past every digest, ``inbox`` there alone, ``off`` not at all."""

    model_config = ConfigDict(extra="forbid")

    info: Choice = "send"
    warning: Choice = "send"
    critical: Choice = "send"


class PreferencesIn(BaseModel):
    """What is absent has its default. Empty ``language`` and ``zone`` are the server's."""

    model_config = ConfigDict(extra="forbid")

    language: Literal["", "en", "es", "pt"] = ""
    zone: str = Field(default="", max_length=64)
    quiet: list[QuietWindow] = Field(default=[], max_length=QUIET_MOST)
    quiet_action: Literal["hold", "inbox"] = "hold"
    critical_passes: StrictBool = True
    digest: Literal["off", "hourly", "daily"] = "off"
    digest_at: str = Field(default="08:00", max_length=5)
    severities: Choices = Choices()
    muted: list[MutedSource] = Field(default=[], max_length=MUTES_MOST)
    snoozed_until: str | StrictInt | None = None
    scope: Literal["all", "mine"] = "all"


class PreferencesOut(BaseModel):
    """``effective`` are the language and the zone that hold, with the server's in place of empty ones."""

    language: str
    zone: str
    quiet: list[QuietWindow]
    quiet_action: str
    critical_passes: bool
    digest: str
    digest_at: str
    severities: Choices
    muted: list[MutedOut]
    snoozed_until: str | None
    scope: str
    effective: dict[str, str]


class NewTest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    severity: SeverityName = "info"
    title: str = Field(default="Test", min_length=1, max_length=TITLE_MOST)
    text: str = Field(default="", max_length=TEXT_MOST)


def only_managing(identity: Identity) -> None:
    """A key that may only look or steer must not lead messages elsewhere. Raises :class:`Forbidden`."""
    if identity.api_key and "manage" not in identity.scopes:
        raise Forbidden("this API key cannot change notifications: it lacks the scope manage")


def bound_tests(wired: Services, identity: Identity) -> None:
    """Raises :class:`TooMany` when somebody tests more than anybody has to."""
    wait = wired.channel_tests.wait_s(identity.name)
    if wait:
        raise TooMany("too many tests; wait a while", math.ceil(wait))
    wired.channel_tests.failed(identity.name)


def _render(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "device": row["device"] or None,
        "at": iso(row["at"]),
        "severity": row["severity"],
        "source": row["source"],
        "title": row["title"],
        "text": row["text"],
        "count": row["count"],
        "last_at": iso(row["last_at"]),
        "read_at": iso(row["read_at"]),
    }


async def _unread(wired: Services, identity: Identity) -> int:
    return await wired.readers.run_core(inbox.unread, identity.name)


async def _find(wired: Services, identity: Identity, notification_id: str) -> dict[str, Any]:
    row = await wired.readers.run_core(inbox.find, identity.name, notification_id) if notification_id else None
    if row is None:
        raise NotFound(f"no notification {notification_id!r}")
    return row


@router.get("", response_model=NotificationPage)
async def list_notifications(
    wired: Wired,
    identity: Viewer,
    read: bool | None = None,
    severity: SeverityName | None = None,
    device: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """One's own, newest first."""
    position = decode_numbers(cursor, 1)
    before = position[0] if position else None
    rows = await wired.readers.run_core(inbox.page, identity.name, limit, before, read, severity or "", device)
    following = encode_cursor(rows[-1]["number"]) if len(rows) == limit else None
    return {"items": [_render(row) for row in rows], "next": following, "unread": await _unread(wired, identity)}


@router.post("/test", status_code=201, response_model=NotificationOut)
async def raise_test(wired: Wired, identity: Viewer, body: NewTest) -> dict[str, Any]:
    """Raise a notification to oneself, which goes every way that one's preferences and channels say."""
    only_managing(identity)
    bound_tests(wired, identity)
    notification = await wired.notifications.raise_(body.severity, "test", body.title, body.text, to=[identity.name])
    return _render(await _find(wired, identity, notification))


@router.put("/read-all", response_model=Unread)
async def read_all(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Mark everything in one's inbox as read."""
    only_managing(identity)
    await wired.pipeline.accept([InboxRead(identity.name, "", wired.clock.now_ms())])
    return {"unread": await _unread(wired, identity)}


@router.get("/preferences", response_model=PreferencesOut)
async def get_preferences(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """When, in which language and how notices leave for oneself."""
    return _shown(wired, wired.notifications.preferences_of(identity.name))


@router.put("/preferences", response_model=PreferencesOut)
async def put_preferences(request: Request, wired: Wired, identity: Viewer, body: PreferencesIn) -> dict[str, Any]:
    """Replace them. What waits already is planned anew."""
    only_managing(identity)
    if body.zone:
        check_zone(body.zone)
    muted = [Mute(one.source, _instant(one.until, f"muted.{n}.until")) for n, one in enumerate(body.muted)]
    preferences = NoticePreferences(
        identity.name,
        body.language,
        body.zone,
        [Window(tuple(one.days), one.start, one.end) for one in body.quiet],
        body.quiet_action,
        body.critical_passes,
        body.digest,
        body.digest_at,
        {name: choice for name, choice in body.severities.model_dump().items() if choice != "send"},
        muted,
        _instant(body.snoozed_until, "snoozed_until"),
        body.scope,
    )
    wrong = check_preferences(preferences)
    if wrong:
        raise Invalid("preferences_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
    replanned = wired.notifications.replan(identity.name, preferences)
    told = wired.audited(request, identity, "notifications.preferences", identity.name)
    await wired.pipeline.accept([Kept(preferences), *replanned, told])
    return _shown(wired, preferences)


@router.get("/{notification_id}", response_model=NotificationOut)
async def get_notification(wired: Wired, identity: Viewer, notification_id: str) -> dict[str, Any]:
    return _render(await _find(wired, identity, notification_id))


@router.put("/{notification_id}/read", response_model=NotificationOut)
async def mark_read(wired: Wired, identity: Viewer, notification_id: str) -> dict[str, Any]:
    """Mark one as read; harmless when it is."""
    only_managing(identity)
    await _find(wired, identity, notification_id)
    await wired.pipeline.accept([InboxRead(identity.name, notification_id, wired.clock.now_ms())])
    return _render(await _find(wired, identity, notification_id))


@router.delete("/{notification_id}", status_code=204)
async def delete_notification(wired: Wired, identity: Viewer, notification_id: str) -> None:
    """Remove one from one's own inbox; others keep theirs."""
    only_managing(identity)
    await _find(wired, identity, notification_id)
    await wired.pipeline.accept([InboxDropped(identity.name, notification_id)])


def _instant(value: str | int | None, field: str) -> int:
    return 0 if value is None else parse_time(str(value), field, 0)


def _shown(wired: Services, preferences: NoticePreferences) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(preferences)
    del found["id"]
    found["quiet"] = [{"days": list(one.days), "from": one.start, "to": one.end} for one in preferences.quiet]
    found["muted"] = [{"source": one.source, "until": iso(one.until)} for one in preferences.muted]
    found["snoozed_until"] = iso(preferences.snoozed_until)
    language, zone = (
        wired.notifications.language_or_default(preferences),
        wired.notifications.zone_or_default(preferences),
    )
    return found | {"effective": {"language": language, "zone": zone}}
