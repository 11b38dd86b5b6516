"""``/api/v1/me/preferences``: how somebody wants the interface to look."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Identity
from relevo.domain.preferences import Preferences, check_preferences
from relevo.domain.records import Kept
from relevo.errors import FieldError, Forbidden, Invalid
from relevo.http.api.devices import check_storable
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/me", tags=["people"])


class PreferencesOut(BaseModel):
    """``language`` empty is the browser's; ``home`` is the interface's own."""

    language: str
    theme: str
    favourites: list[str]
    home: dict[str, Any]


class PreferencesChange(BaseModel):
    """Fields that are absent stay; lists and ``home`` are replaced as a whole."""

    model_config = ConfigDict(extra="forbid")

    language: Literal["", "en", "es", "pt"] | None = None
    theme: Literal["auto", "light", "dark"] | None = None
    favourites: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        default=None, description="Devices in the order in which they are shown, at most 100."
    )
    home: dict[str, Any] | None = Field(default=None, description="At most 4,096 bytes of JSON.")


def _visible(wired: Services, identity: Identity, ids: list[str]) -> list[str]:
    found = ((one, wired.registry.get(one)) for one in ids)
    return [one for one, device in found if device is not None and wired.auth.people.right(identity, device)]


def _shown(wired: Services, identity: Identity, preferences: Preferences) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.structs.asdict(preferences)
    del shown["id"]
    return shown | {"favourites": _visible(wired, identity, preferences.favourites)}


@router.get("/preferences", response_model=PreferencesOut)
async def get_preferences(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """One's own. Favourites that one may not view any more are left out."""
    return _shown(wired, identity, wired.auth.people.preferences_of(identity.name))


@router.patch("/preferences", response_model=PreferencesOut)
async def change_preferences(wired: Wired, identity: Viewer, body: PreferencesChange) -> dict[str, Any]:
    """Change some of them."""
    if identity.api_key and "manage" not in identity.scopes:
        raise Forbidden("this API key cannot change preferences: it lacks the scope manage")
    changes = body.model_dump(exclude_none=True)
    if not changes:
        message = "nothing to change: give language, theme, favourites or home"
        raise Invalid("empty", message, [FieldError("body", message)])
    check_storable(changes, "body")
    changed = msgspec.structs.replace(wired.auth.people.preferences_of(identity.name), **changes)
    held = changed.favourites
    wrong = check_preferences(changed, _visible(wired, identity, held) if "favourites" in changes else held)
    if wrong:
        raise Invalid("preferences_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
    await wired.pipeline.accept([Kept(changed)])
    return _shown(wired, identity, changed)
