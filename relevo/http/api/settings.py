"""``/api/v1/system/settings``: what is in force and why, as ``relevo settings`` prints it."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from relevo.http.needs import Administrator
from relevo.http.services import Wired

router = APIRouter(prefix="/api/v1", tags=["system"])


class SettingOut(BaseModel):
    """One setting. Of a secret nothing is told but whether it is `set`; ``least`` and ``most`` bound numbers."""

    name: str
    value: str | None
    set: bool
    secret: bool
    default: str
    origin: str
    source: str
    help: str
    environment: str
    least: int | float | None
    most: int | float | None


class SettingsOut(BaseModel):
    """In the order of the reference page; a name before a dot is a group."""

    items: list[SettingOut]
    next: None


@router.get("/system/settings", response_model=SettingsOut)
async def settings(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Every setting with its value, where that came from, and what it means. A change takes a restart."""
    # Read when somebody asks: the page of settings is made here too.
    from relevo.settings.page import tell

    return {"items": [one._asdict() for one in tell(wired.settings)], "next": None}
