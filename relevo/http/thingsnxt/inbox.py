"""The app's notifications (contract thingsnxt, section 4): the person's inbox in the contract's words."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from relevo.domain.records import InboxDropped, InboxRead
from relevo.errors import NotFound
from relevo.http.api.notifications import only_managing
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.http.thingsnxt.rates import limited
from relevo.http.thingsnxt.shapes import notification
from relevo.store import inbox

router = APIRouter(tags=["thingsnxt"], dependencies=[limited])


@router.get("/notifications", summary="One's notifications")
async def notifications(
    wired: Wired, identity: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 50, read: bool | None = None
) -> dict[str, Any]:
    """Newest first."""
    rows = await wired.readers.run_core(inbox.page, identity.name, limit, None, read)
    unread = await wired.readers.run_core(inbox.unread, identity.name)
    return {"notifications": [notification(wired, **row) for row in rows], "unread_count": unread}


@router.put("/notifications/read-all", summary="Mark every notification as read")
async def read_all(wired: Wired, identity: Viewer) -> dict[str, Any]:
    only_managing(identity)
    await wired.pipeline.accept([InboxRead(identity.name, "", wired.clock.now_ms())])
    return {"message": "All notifications marked as read"}


@router.put("/notifications/{id}/read", summary="Mark a notification as read")
async def mark_read(wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    only_managing(identity)
    await _there(wired, identity.name, id)
    await wired.pipeline.accept([InboxRead(identity.name, id, wired.clock.now_ms())])
    return {"message": "Notification marked as read"}


@router.delete("/notifications/{id}", status_code=204, summary="Remove a notification from one's inbox")
async def delete(wired: Wired, identity: Viewer, id: str) -> None:  # noqa: A002
    only_managing(identity)
    await _there(wired, identity.name, id)
    await wired.pipeline.accept([InboxDropped(identity.name, id)])


async def _there(wired: Services, account: str, notification_id: str) -> None:
    if await wired.readers.run_core(inbox.find, account, notification_id) is None:
        raise NotFound("Notification not found")
