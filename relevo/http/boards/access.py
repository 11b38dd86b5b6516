"""Who may do what with a board, and what somebody may put on one."""

from collections.abc import Sequence
from typing import Any

import msgspec

from relevo.domain.accounts import Identity, Role
from relevo.domain.board_widgets import (
    REASON,
    Shown,
    charted_by,
    field,
    is_open,
    named_by,
    pictures_of,
    span_ms,
    wrong,
)
from relevo.domain.boards import Board, BoardRight, Picture, Wall
from relevo.domain.events import Audited
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, Kept
from relevo.domain.schedules import Schedule
from relevo.errors import FieldError, Forbidden, NotFound
from relevo.http.services import Services

THINGSNXT = "thingsnxt"
_encode = msgspec.json.Encoder(order="deterministic").encode


def only_writing(identity: Identity) -> None:
    """Raises :class:`Forbidden` for a key that may only look."""
    if identity.api_key and not set(identity.scopes) & {"control", "manage"}:
        raise Forbidden("an API key with the scope read alone changes no dashboard")


def only_person(identity: Identity) -> None:
    """Raises :class:`Forbidden` for an API key: whoever finds one could otherwise stay."""
    if identity.api_key:
        raise Forbidden("an API key cannot make or revoke walls")


def board_for(wired: Services, identity: Identity, board_id: str, right: BoardRight) -> Board:
    """The board, when ``identity`` has at least ``right`` to it.

    Raises :class:`NotFound` also for one that they may not know of, and :class:`Forbidden` for less of a right.
    """
    board = wired.boards.all.get(board_id)
    held = board.right_of(identity.name) if board is not None else BoardRight.NONE
    if board is None or not held:
        app = wired.dashboards.dashboards.get(board_id)
        if app is not None and app.account == identity.name and right > BoardRight.VIEW:
            raise Forbidden("this dashboard is the thingsnxt app's: change it there, or make one of its devices here")
        raise NotFound(f"no dashboard {board_id!r}")
    if held < right:
        raise Forbidden(f"needs the right to {right.name.lower()} the dashboard {board_id!r}")
    return board


async def keep(wired: Services, record: Board | Wall | Picture, more: Sequence[Audited] = ()) -> None:
    """Keep ``record``, and nothing of it that belongs to somebody who was removed while it was on its way.

    Raises :class:`NotFound` when that is its owner.
    """
    await wired.pipeline.accept([Kept(record), *more])
    accounts = wired.auth.people.accounts
    if isinstance(record, Board):
        if record.owner not in accounts:
            await wired.pipeline.accept(wired.boards.removal(record))
            raise NotFound(f"no dashboard {record.id!r}")
        left = {name: right for name, right in record.shared.items() if name in accounts}
        if left != record.shared:
            await wired.pipeline.accept([Kept(msgspec.structs.replace(record, shared=left))])
    elif record.account not in accounts:
        await wired.pipeline.accept([Dropped(type(record), record.id)])
        raise NotFound(f"no user {record.account!r}")


def views(wired: Services, identity: Identity, device_id: str) -> bool:
    return wired.auth.may(identity, device_id, Right.VIEW)


def sees_schedule(identity: Identity, schedule: Schedule | None) -> bool:
    return schedule is not None and (identity.role is Role.ADMINISTRATOR or schedule.owner == identity.name)


def picture_for(wired: Services, identity: Identity, picture_id: str) -> Picture:
    """A picture of one's own, or on a board that one sees. Raises :class:`NotFound`."""
    found = wired.boards.pictures.get(picture_id)
    if found is not None and (
        found.account == identity.name
        or any(picture_id in pictures_of(one.widgets) for one in wired.boards.of_account(identity.name))
    ):
        return found
    raise NotFound(f"no picture {picture_id!r}")


def check_named(
    wired: Services, identity: Identity, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], owner: bool
) -> None:
    """Whether ``identity`` may have ``after`` on a board that had ``before``; ``owner`` says whether it is their own.

    Walls show a board with its owner's rights. So nobody puts on one what they may not view themselves, nor, on
    somebody else's, what shows whatever its owner may view; what was there may stay. Raises :class:`Invalid`.
    """
    had = {(shown, one["type"] == "alerts") for one in before for _, shown in named_by(one)}
    spans: dict[Shown, int] = {}
    for one in before:
        for shown in charted_by(one):
            spans[shown] = max(spans.get(shown, 0), span_ms(one))
    opened = {_what(one) for one in before if is_open(one)}
    pictures, schedules = pictures_of(before), {one["options"].get("schedule") for one in before}
    problems = []
    for n, widget in enumerate(after):
        options = widget["options"]
        longer = {one for one in charted_by(widget) if span_ms(widget) > spans.get(one, 0)}
        for place, shown in named_by(widget):
            new = (shown, widget["type"] == "alerts") not in had or shown in longer
            if new and not views(wired, identity, shown.device):
                problems.append(_problem(n, place, f"names no device of yours: no device {shown.device!r}"))
                break
        else:
            problems += _other(wired, identity, n, widget)
        if not owner and is_open(widget) and _what(widget) not in opened:
            place = "options.tag" if widget["type"] == "table" else "options.devices"
            problems.append(_problem(n, place, "is for the owner of the dashboard: it shows what the owner may view"))
        picture = options.get("picture")
        if picture and picture not in pictures:
            try:
                picture_for(wired, identity, picture)
            except NotFound as error:
                problems.append(_problem(n, "options.picture", f"names {error}"))
        schedule = options.get("schedule")
        if schedule and schedule not in schedules and not sees_schedule(identity, wired.schedules.all.get(schedule)):
            problems.append(_problem(n, "options.schedule", f"names no schedule of yours: no schedule {schedule!r}"))
    if problems:
        raise wrong(problems)


def _other(wired: Services, identity: Identity, n: int, widget: dict[str, Any]) -> list[FieldError]:
    device = wired.registry.get(widget["device"]) if widget["options"].get("virtual_pin") else None
    if device is None or device.contract == THINGSNXT or not views(wired, identity, device.id):
        return []
    return [_problem(n, "options.virtual_pin", f"is for devices of contract thingsnxt, this one is {device.contract}")]


def _problem(n: int, place: str, words: str) -> FieldError:
    return FieldError(field(n, place), words, REASON)


def _what(widget: dict[str, Any]) -> bytes:
    return _encode([widget["type"], widget["device"], widget["options"]])
