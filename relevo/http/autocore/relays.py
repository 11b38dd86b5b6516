"""Relay boards and what each of their relays does (contract autocore, section 3.2).

What that means: :mod:`relevo.domain.relay_functions`. A board's ``id`` is its device's, a channel's is a hundred times
that and its number.
"""

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo.dialects.autocore.reports import CHANNELS_MOST
from relevo.domain.accounts import Identity
from relevo.domain.devices import LEARNED, Device
from relevo.domain.events import DeviceChanged
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, Kept
from relevo.domain.relay_functions import (
    FUNCTIONS,
    PROTECTIONS,
    PULSE_LEAST_MS,
    PULSE_MOST_MS,
    SECONDS_MOST,
    RelayBoard,
    RelayChannel,
    channel_id,
)
from relevo.errors import Conflict, Forbidden, NotFound
from relevo.http.api.devices import check_storable
from relevo.http.api.times import iso
from relevo.http.autocore.shapes import Reader, answer, find, is_active, wrong
from relevo.http.description import json_body
from relevo.http.needs import ControlsBoard, OfBoards, OwnsBoard
from relevo.http.services import Services, services_of
from relevo.pipeline import Entry
from relevo.wire.strict_json import loads_object

router = APIRouter(prefix="/api/relays", tags=["autocore"])

_PER_BOARD: Final = 100
_NAME, _TEXT, _WORD = 128, 512, 32
_INT: Final = {"type": "integer"}


def _words(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most, "pattern": "^[ -~]*$"}


_BOARD: Final[dict[str, Any]] = {
    "name": _words(_NAME) | {"pattern": r"^[ -~]*[!-~][ -~]*$"},
    "board_model": _words(64),
    "location": _words(_NAME),
    "is_active": {"type": "boolean"},
}
_CHANNEL: Final[dict[str, Any]] = {
    "name": _words(_NAME),
    "description": _words(_TEXT),
    "function_type": {"enum": list(FUNCTIONS)},
    "protection_mode": {"enum": list(PROTECTIONS)},
    "interlock_group": _words(_WORD),
    "pulse_ms": _INT | {"minimum": PULSE_LEAST_MS, "maximum": PULSE_MOST_MS},
    "timer_seconds": _INT | {"minimum": 1, "maximum": SECONDS_MOST},
    "max_activation_time": _INT | {"minimum": 1, "maximum": SECONDS_MOST},
    "icon": _words(_WORD),
    "color": _words(_WORD),
    "allow_in_macro": {"type": "boolean"},
    "is_active": {"type": "boolean"},
}
_BY_NAME: Final = {
    "in": "query",
    "name": "board_id",
    "required": False,
    "schema": {"type": "integer", "minimum": 1},
    "description": "One board alone.",
}


@router.get("/boards", summary="Board records")
async def all_boards(request: Request, identity: OfBoards) -> Response:
    wired = services_of(request)
    return answer([_board(wired, device, one) for device, one in _boards(wired, identity)])


@router.post(
    "/boards",
    status_code=201,
    summary="Make a relay device a board",
    openapi_extra=json_body(
        {
            "device_id": {"type": ["integer", "string"]},
            "total_channels": _INT | {"minimum": 1, "maximum": CHANNELS_MOST},
            **_BOARD,
        },
        ["device_id"],
    ),
)
async def create_board(request: Request, identity: OwnsBoard) -> Response:
    """201 with a channel for each relay; ``device_id`` is an ``id`` or a uuid."""
    wired = services_of(request)
    body = loads_object(await request.body())
    check_storable(body, "body")
    reader = _read_board(body)
    reader.need("device_id")
    reader.number("total_channels", 1, CHANNELS_MOST)
    given = reader.done()
    count = given.pop("total_channels", None)
    ref = body["device_id"]
    if type(ref) not in (int, str):
        raise wrong("device_id", "must be a number or a uuid")
    device = find(wired, request, identity, str(ref), Right.OWN)
    if device.id in wired.switching.boards or not is_active(device):
        raise Conflict("This device has a board record" if is_active(device) else "This device is deleted")
    now = wired.clock.now_ms()
    made = RelayBoard(device.id, given.pop("name", device.name), created_at=now, changed_at=now, **given)
    entries: list[Entry] = [Kept(made)]
    if count is not None and count != device.attributes.get("relay_channels"):
        entries.append(DeviceChanged(device.id, now, {LEARNED: {"relay_channels": count}}, identity.name))
    entries += [Kept(_usual(device, n, now)) for n in range(1, (count or _count(wired, device)) + 1)]
    entries.append(wired.audited(request, identity, "relays.create", device.id))
    await wired.pipeline.accept(entries)
    return answer(_board(wired, device, made), 201)


@router.get("/boards/{number}", summary="One board record")
async def one_board(request: Request, identity: OfBoards, number: str) -> Response:
    wired = services_of(request)
    return answer(_board(wired, *_find_board(request, wired, identity, number)))


@router.patch(
    "/boards/{number}",
    summary="Change a board record",
    openapi_extra=json_body(_BOARD | {"total_channels": _INT | {"minimum": 1, "maximum": CHANNELS_MOST}}),
)
async def change_board(request: Request, identity: OwnsBoard, number: str) -> Response:
    """With ``total_channels`` channels are added, or taken away from the end."""
    wired = services_of(request)
    device, board = _find_board(request, wired, identity, number, Right.OWN)
    body = loads_object(await request.body())
    check_storable(body, "body")
    reader = _read_board(body)
    reader.number("total_channels", 1, CHANNELS_MOST)
    given = reader.done()
    count = given.pop("total_channels", None)
    now = wired.clock.now_ms()
    changed = msgspec.structs.replace(board, changed_at=now, **given)
    entries: list[Entry] = [Kept(changed)]
    held = {one.channel for one in wired.switching.of_device(device.id)}
    if count is not None:
        entries.append(DeviceChanged(device.id, now, {LEARNED: {"relay_channels": count}}, identity.name))
        entries += [Kept(_usual(device, n, now)) for n in range(1, count + 1) if n not in held]
        entries += [Dropped(RelayChannel, channel_id(device.id, n)) for n in sorted(held) if n > count]
    entries.append(wired.audited(request, identity, "relays.change", device.id, {"changes": sorted(body)[:16]}))
    await wired.pipeline.accept(entries)
    return answer(_board(wired, device, changed))


@router.delete("/boards/{number}", summary="Delete a board record")
async def delete_board(request: Request, identity: OwnsBoard, number: str) -> Response:
    """With its channels: the relays are plain ones again."""
    wired = services_of(request)
    device, _ = _find_board(request, wired, identity, number, Right.OWN)
    held = wired.switching.of_device(device.id)
    await wired.pipeline.accept(
        [
            Dropped(RelayBoard, device.id),
            *(Dropped(RelayChannel, one.id) for one in held),
            wired.audited(request, identity, "relays.delete", device.id),
        ]
    )
    return answer({"message": "Board deleted"})


@router.get("/channels", summary="The channels of boards", openapi_extra={"parameters": [_BY_NAME]})
async def all_channels(request: Request, identity: OfBoards) -> Response:
    """A bare array; ``?board_id=`` for one board."""
    wired = services_of(request)
    wanted = request.query_params.get("board_id", "")
    if wanted and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19 and int(wanted)):
        raise wrong("query.board_id", "must be a whole number from 1")
    found = [pair for pair in _boards(wired, identity) if not wanted or pair[0].registered_seq == int(wanted)]
    return answer([_channel(wired, device, one) for device, _ in found for one in wired.switching.of_device(device.id)])


@router.get("/channels/{number}", summary="One channel")
async def one_channel(request: Request, identity: OfBoards, number: str) -> Response:
    wired = services_of(request)
    return answer(_channel(wired, *_find_channel(request, wired, identity, number)))


@router.patch("/channels/{number}", summary="Change what a relay does", openapi_extra=json_body(_CHANNEL))
async def change_channel(request: Request, identity: OwnsBoard, number: str) -> Response:
    """What is on keeps the time it was given."""
    wired = services_of(request)
    device, one = _find_channel(request, wired, identity, number, Right.OWN)
    body = loads_object(await request.body())
    check_storable(body, "body")
    reader = Reader(body)
    reader.text("name", _NAME, empty=True)
    reader.text("description", _TEXT, empty=True)
    reader.one_of("function_type", FUNCTIONS, "function")
    reader.one_of("protection_mode", PROTECTIONS, "protection")
    reader.text("interlock_group", _WORD, empty=True, into="group")
    reader.number("pulse_ms", PULSE_LEAST_MS, PULSE_MOST_MS)
    reader.number("timer_seconds", 1, SECONDS_MOST, "timer_s")
    reader.number("max_activation_time", 1, SECONDS_MOST, "limit_s")
    for name in ("icon", "color"):
        reader.text(name, _WORD, empty=True)
    reader.flag("allow_in_macro", "in_macros")
    reader.flag("is_active", "active")
    return await _put(request, wired, identity, device, one, reader.done())


@router.delete("/channels/{number}", summary="Put a channel aside")
async def delete_channel(request: Request, identity: OwnsBoard, number: str) -> Response:
    """It stays, with ``is_active`` false and with what protects it."""
    wired = services_of(request)
    device, one = _find_channel(request, wired, identity, number, Right.OWN)
    await _put(request, wired, identity, device, one, {"active": False})
    return answer({"message": "Channel deactivated"})


@router.post("/channels/{number}/reset", summary="Let a relay do what it did at first")
async def reset_channel(request: Request, identity: OwnsBoard, number: str) -> Response:
    wired = services_of(request)
    device, one = _find_channel(request, wired, identity, number, Right.OWN)
    usual = msgspec.structs.asdict(_usual(device, one.channel, 0))
    kept = {name: value for name, value in usual.items() if name not in ("id", "device", "channel", "changed_at")}
    return await _put(request, wired, identity, device, one, kept)


@router.post("/channels/{number}/activate", summary="Take a channel back that was put aside")
async def activate_channel(request: Request, identity: OwnsBoard, number: str) -> Response:
    wired = services_of(request)
    device, one = _find_channel(request, wired, identity, number, Right.OWN)
    return await _put(request, wired, identity, device, one, {"active": True})


@router.post("/channels/{number}/heartbeat", summary="Say that the key of a momentary relay is held")
async def beat(request: Request, identity: ControlsBoard, number: str) -> Response:
    """Every 500 ms while it is; ``held`` false says that nothing is kept on by it."""
    wired = services_of(request)
    device, one = _find_channel(request, wired, identity, number, Right.CONTROL)
    return answer({"held": wired.switching.beat(device.id, one.channel, forward=True)})


async def _put(
    request: Request, wired: Services, identity: Identity, device: Device, one: RelayChannel, given: dict[str, Any]
) -> Response:
    changed = msgspec.structs.replace(one, changed_at=wired.clock.now_ms(), **given)
    detail = {"channel": one.channel, "changes": sorted(given)}
    await wired.pipeline.accept([Kept(changed), wired.audited(request, identity, "relays.change", device.id, detail)])
    return answer(_channel(wired, device, changed))


def _read_board(body: dict[str, Any]) -> Reader:
    reader = Reader(body)
    reader.text("name", _NAME)
    reader.text("board_model", 64, empty=True, into="model")
    reader.text("location", _NAME, empty=True)
    reader.flag("is_active", "active")
    return reader


def _usual(device: Device, channel: int, now: int) -> RelayChannel:
    return RelayChannel(channel_id(device.id, channel), device.id, channel, f"Relay {channel}", changed_at=now)


def _count(wired: Services, device: Device) -> int:
    count: int = wired.dialects[device.contract].relay_count(device.attributes)  # type: ignore[attr-defined]
    return count


def _boards(wired: Services, identity: Identity) -> list[tuple[Device, RelayBoard]]:
    found = []
    for board in wired.switching.boards.values():
        device = wired.registry.get(board.id)
        if device is not None and wired.auth.people.right(identity, device):
            found.append((device, board))
    return sorted(found, key=lambda pair: pair[0].registered_seq)


def _find_board(
    request: Request, wired: Services, identity: Identity, text: str, right: Right = Right.VIEW
) -> tuple[Device, RelayBoard]:
    """Raises :class:`NotFound` and :class:`Forbidden`."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    return _of_device(request, wired, identity, wired.registry.numbered(number), right, "Board not found")


def _of_device(
    request: Request, wired: Services, identity: Identity, device: Device | None, right: Right, words: str
) -> tuple[Device, RelayBoard]:
    held = wired.auth.people.right(identity, device) if device is not None else Right.NONE
    board = wired.switching.boards.get(device.id) if device is not None else None
    if device is None or board is None or not held:
        raise NotFound(words)
    if held < right:
        wired.refuse_person(request, identity, device.id, f"{request.method} needs the right to {right.name}")
        raise Forbidden(f"Needs the right to {right.name.lower()} this device")
    return device, board


def _find_channel(
    request: Request, wired: Services, identity: Identity, text: str, right: Right = Right.VIEW
) -> tuple[Device, RelayChannel]:
    """Raises :class:`NotFound` and :class:`Forbidden`."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    device = wired.registry.numbered(number // _PER_BOARD)
    device, _ = _of_device(request, wired, identity, device, right, "Channel not found")
    one = wired.switching.channels.get((device.id, number % _PER_BOARD))
    if one is None:
        raise NotFound("Channel not found")
    return device, one


def _board(wired: Services, device: Device, board: RelayBoard) -> dict[str, Any]:
    return {
        "id": device.registered_seq,
        "device_id": device.registered_seq,
        "device_uuid": device.external_id,
        "name": board.name,
        "total_channels": len(wired.switching.of_device(device.id)),
        "board_model": board.model,
        "location": board.location or None,
        "is_active": board.active,
        "created_at": iso(board.created_at),
        "updated_at": iso(board.changed_at),
    }


def _channel(wired: Services, device: Device, one: RelayChannel) -> dict[str, Any]:
    return {
        "id": device.registered_seq * _PER_BOARD + one.channel,
        "board_id": device.registered_seq,
        "channel_number": one.channel,
        "name": one.name,
        "description": one.description or None,
        "function_type": one.function,
        "protection_mode": one.protection,
        "interlock_group": one.group or None,
        "pulse_ms": one.pulse_ms,
        "timer_seconds": one.timer_s,
        "max_activation_time": one.limit_s,
        "icon": one.icon or None,
        "color": one.color or None,
        "allow_in_macro": one.in_macros,
        "is_active": one.active,
        "state": wired.switching.state(device.id, one.channel),
        "updated_at": iso(one.changed_at),
    }
