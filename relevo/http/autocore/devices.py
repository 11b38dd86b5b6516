"""Boards as displays, app and tools see them (contract autocore, section 3.2). ``{ref}`` is an ``id`` or a uuid."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo.dialects.autocore import commands
from relevo.domain.credentials import Credential
from relevo.domain.devices import LEARNED, Device
from relevo.domain.events import DeviceChanged
from relevo.domain.grants import Right
from relevo.domain.records import Dropped
from relevo.errors import Conflict, NotFound, Unauthenticated
from relevo.http.api.devices import check_storable
from relevo.http.autocore.registration import credentials, place_of
from relevo.http.autocore.shapes import (
    ACTIVE,
    CHANGED,
    CONFIGURATION,
    CONTRACT,
    LOCATION,
    Reader,
    answer,
    boards,
    find,
    is_active,
    named,
    plain_mac,
    render,
    to_board,
    to_json,
)
from relevo.http.description import json_body
from relevo.http.needs import OfBoards, OwnsBoard, owner_or_board, settings_of_board
from relevo.http.services import Services, services_of
from relevo.wire.strict_json import loads_object

router = APIRouter(tags=["autocore"])

_CONFIG_BYTES: Final = 2_047
_CONFIGURATION_BYTES: Final = 2_048
_CAPABILITIES_BYTES: Final = 1_024
# What a board may say of itself with its key, after it connected.
_ITS_OWN: Final = frozenset({"mac_address", "ip_address"})
_BODY: Final = json_body(
    {
        **{
            name: {"type": "string", "maxLength": most, "pattern": r"^[ -~]*[!-~][ -~]*$"}
            for name, most in {"name": 128, "type": 64, "ip_address": 45, "mac_address": 32}.items()
        },
        "location": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
        "is_active": {"type": "boolean"},
        "configuration": {"type": "object"},
        "capabilities": {"type": ["object", "array"]},
    }
)


@router.get("/api/devices", summary="All boards")
async def all_devices(request: Request, identity: OfBoards) -> Response:
    """A bare array of those that are not deleted; ``?include_inactive=true`` has the others too."""
    wired = services_of(request)
    every = request.query_params.get("include_inactive", "").lower() in ("1", "true")
    found = [one for one in boards(wired, identity) if every or is_active(one)]
    return answer([render(wired, one, True) for one in found])


@router.get("/api/devices/available-for-relays", summary="Relay devices without a board record")
async def available(request: Request, identity: OfBoards) -> Response:
    wired = services_of(request)
    found = [one for one in boards(wired, identity) if is_active(one) and _has_relays(one)]
    return answer([render(wired, one, True) for one in found if one.id not in wired.switching.boards])


@router.get("/api/devices/{ref}", summary="One board")
async def one_device(request: Request, identity: OfBoards, ref: str) -> Response:
    wired = services_of(request)
    return answer(render(wired, find(wired, request, identity, ref), True))


@router.put(
    "/api/devices/{ref}",
    dependencies=[owner_or_board],
    summary="Change a board, or a board its addresses",
    operation_id="replace_board",
    openapi_extra=_BODY,
)
@router.patch(
    "/api/devices/{ref}",
    dependencies=[owner_or_board],
    summary="Change a board, or a board its addresses",
    operation_id="change_board",
    openapi_extra=_BODY,
)
async def change_device(request: Request, ref: str) -> Response:
    """What else the body holds is passed over; a board may change its addresses with its key."""
    wired = services_of(request)
    device, by = _changer(request, wired, ref)
    body = loads_object(await request.body())
    check_storable(body, "body")
    if not by:
        body = {name: value for name, value in body.items() if name in _ITS_OWN}
    reader = Reader(body)
    for name, most in {"name": 128, "type": 64, "ip_address": 45, "mac_address": 32}.items():
        reader.text(name, most)
    reader.text("location", 128, empty=True)
    reader.flag("is_active")
    reader.document("configuration", (dict,), _CONFIGURATION_BYTES)
    reader.document("capabilities", (dict, list), _CAPABILITIES_BYTES)
    said = reader.done()
    mac = plain_mac(said.get("mac_address"))
    others = (one for one in wired.registry.of_contract(CONTRACT) if one.id != device.id and is_active(one))
    if mac and any(plain_mac(one.attributes.get("mac_address")) == mac for one in others):
        raise Conflict("Another device with this MAC address is registered")
    changes: dict[str, Any] = {name: said.pop(name) for name in ("name", "type") if name in said}
    active = said.pop("is_active", None)
    patch = {name: value for name, value in said.items() if device.attributes.get(name) != value}
    if active is not None and active is not is_active(device):
        patch[ACTIVE] = None if active else False
    if CONFIGURATION in patch:
        # The whole of it takes the place of the former one.
        former = device.attributes.get(CONFIGURATION)
        gone = dict.fromkeys(former) if isinstance(former, dict) else {}
        patch[CONFIGURATION] = gone | patch[CONFIGURATION]
    if patch.get(LOCATION) == "":
        patch[LOCATION] = None
    if by and (changes or patch):
        patch[CHANGED] = wired.clock.now_ms()
    if patch:
        changes[LEARNED] = patch
    if changes:
        entries: list[Any] = [DeviceChanged(device.id, wired.clock.now_ms(), changes, by or device.id)]
        if by:
            detail = {"changes": sorted({*changes, *patch} - {LEARNED, CHANGED})}
            entries.append(wired.audited(request, wired.auth.identify(request), "device.change", device.id, detail))
        await wired.pipeline.accept(entries)
    shown = render(wired, wired.registry.get(device.id) or device, True)
    return answer(shown) if by else to_board(shown)


@router.delete("/api/devices/{ref}", summary="Delete a board; its past stays")
async def delete_device(request: Request, identity: OwnsBoard, ref: str) -> Response:
    """Its credentials end at once; when it registers again it is the one that it was."""
    wired = services_of(request)
    device = find(wired, request, identity, ref, Right.OWN)
    changes = {"key_hash": "", LEARNED: {ACTIVE: False, CHANGED: wired.clock.now_ms()}}
    await wired.pipeline.accept(
        [
            DeviceChanged(device.id, wired.clock.now_ms(), changes, identity.name),
            *(Dropped(Credential, one.id) for one in wired.keyring.of_device(device.id)),
            wired.audited(request, identity, "device.delete", device.id, {"contract": CONTRACT, "kept": True}),
        ]
    )
    return answer({"message": "Device deleted"})


@router.get("/api/devices/{ref}/config", dependencies=[settings_of_board], summary="What a board starts with")
async def config(request: Request, ref: str) -> Response:
    """Below 2048 bytes. Credentials as at ``/api/mqtt/config``: 403 where they may not be given."""
    wired = services_of(request)
    device = named(wired, ref)
    own = device is not None and wired.auth.is_device(request, device)
    if not own:
        identity = wired.auth.identify(request)
        device = find(wired, request, identity, ref)
    assert device is not None
    username, password = credentials(request, wired, signed_in=not own)
    host, port = place_of(request, wired)
    count = commands.channels_of(device.attributes)
    body = {
        "mqtt": {
            "broker_host": host,
            "broker_port": port,
            "username": username,
            "password": password,
            "topic_prefix": wired.dialects[CONTRACT].options()["topic_prefix"],
        },
        "relays": {
            "channels": count,
            "config": [{"channel": n, "state": bool(wired.switching.state(device.id, n))} for n in range(1, count + 1)],
        },
        "device": {"name": device.name},
    }
    over = len(to_json(body)) - _CONFIG_BYTES
    if over > 0:
        body["device"]["name"] = device.name.encode()[: max(8, 128 - over)].decode(errors="ignore")
    return Response(to_json(body), 200, {"Cache-Control": "no-store"}, "application/json")


def _changer(request: Request, wired: Services, ref: str) -> tuple[Device, str]:
    """The device, and the person who changes it: empty for the board itself."""
    device = named(wired, ref)
    if device is not None and wired.auth.is_device(request, device):
        return device, ""
    try:
        identity = wired.auth.identify(request)
    except Unauthenticated:
        if wired.auth.device_of(request):
            raise NotFound("Device not found") from None
        raise
    return find(wired, request, identity, ref, Right.OWN), identity.name


def _has_relays(device: Device) -> bool:
    capabilities = device.attributes.get("capabilities")
    named = isinstance(capabilities, list | dict) and ("relay" in capabilities or "relays" in capabilities)
    return "relay" in device.type or named
