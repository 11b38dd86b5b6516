"""What devices ask and tell (contract thingsnxt, section 3). They know status 200 and nothing else as success."""

import hmac
import re
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from relevo.dialects.thingsnxt import PIN, Body, decoded, read_body
from relevo.domain.accounts import Identity
from relevo.domain.devices import Device
from relevo.errors import FieldError, Forbidden, Invalid, NotFound, Unauthenticated
from relevo.http.api.times import iso
from relevo.http.auth import bearer
from relevo.http.needs import device_token, open_to_all
from relevo.http.services import Services, address_of, services_of
from relevo.http.thingsnxt.rates import count
from relevo.http.thingsnxt.shapes import CONTRACT, MASK, find_device, for_devices, is_theirs

router = APIRouter(tags=["thingsnxt"])

_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
# Legacy firmware parses into 2048 bytes, and its answers are to stay below 1.5 KB.
_DATA_BYTES: Final = 1_300
_encode: Final = msgspec.json.Encoder().encode


def token_of(request: Request, wired: Services, in_body: str = "", in_query: str = "") -> str:
    """The token that a device shows, empty for none. Raises :class:`Forbidden` when it shows two different ones.

    A person's token is none: the app sends its own along with the device's.
    """
    shown = [request.headers.get("x-device-token", "").strip(), bearer(request), in_body, in_query]
    if _is_persons(shown[1]):
        shown[1] = ""
    found = [one for one in shown if one]
    if any(not hmac.compare_digest(one.encode(), found[0].encode()) for one in found[1:]):
        wired.refusals.refuse("", "http", "bad_credentials", "two different device tokens", address_of(request))
        raise Forbidden("two different device tokens in one request")
    return found[0] if found else ""


def _is_persons(token: str) -> bool:
    return token.startswith("relevo_") or (token.startswith("eyJ") and token.count(".") == 2)


def _device(wired: Services, token: str) -> Device | None:
    device = wired.registry.get(wired.keyring.device_of(token.encode(errors="replace"), wired.clock.now_ms()))
    return device if device is not None and device.contract == CONTRACT else None


@router.post("/devices/{id}/telemetry", dependencies=[device_token], summary="A token device posts its values")
async def post(request: Request, id: str) -> Response:  # noqa: A002 - the contract's word
    """200 with the state that holds: what a widget asked for stands in the place of what the device said of it."""
    wired = services_of(request)
    address = address_of(request)
    if not _ID.fullmatch(id):
        count(wired, request, "address", address)
        raise HTTPException(400, "Invalid device ID")
    device = wired.registry.find(CONTRACT, id.lower())
    raw = await request.body()
    body = _read(request, wired, raw, device)
    token = token_of(request, wired, body.token)
    fits = device is not None and token and _device(wired, token) is device
    if fits and device is not None:
        count(wired, request, "device", device.id)
    else:
        count(wired, request, "address", address)
    if not token:
        raise _missing("body.device_token")
    if device is None:
        wired.refusals.refuse("", "http", "device_unknown", f"{CONTRACT} device {id!r}", address)
        raise NotFound("Device not found")
    if not fits:
        wired.refusals.refuse(device.id, "http", "bad_credentials", "wrong device_token", address)
        raise Forbidden("Invalid device token")
    data, _ = await _take(request, wired, device, body)
    return JSONResponse(
        {"message": "ok", "device_id": device.external_id, "data": data, "timestamp": iso(wired.clock.now_ms())}
    )


@router.post("/telemetry", dependencies=[device_token], summary="A token device posts its values, known by its token")
async def post_by_token(request: Request) -> Response:
    """As older firmware does it; ``led`` is the first pin."""
    wired = services_of(request)
    address = address_of(request)
    body = _read(request, wired, await request.body(), None)
    token = token_of(request, wired, body.token)
    device = _device(wired, token) if token else None
    if device is None:
        count(wired, request, "address", address)
        if not token:
            raise HTTPException(400, "Missing device_token")
        wired.refusals.refuse("", "http", "bad_credentials", "telemetry with an unknown device_token", address)
        raise NotFound("Device not found")
    count(wired, request, "device", device.id)
    data, whole = await _take(request, wired, device, body)
    led = whole.get("v0", whole.get("led", 0))
    return JSONResponse(
        {
            "message": "ok",
            "device_id": device.external_id,
            "led": int(led) if led in (0, 1) else led,
            "updated_data": data,
            "timestamp": iso(wired.clock.now_ms()),
        }
    )


@router.get(
    "/telemetry/latest",
    dependencies=[device_token],
    summary="What a token device is, and is to be",
    responses={404: {"description": "A token of no device here"}, 422: {"description": "No token"}},
)
async def latest(request: Request) -> Response:
    """Asked by devices every few seconds, and by the app with the token of a device beside its own."""
    wired = services_of(request)
    in_query = request.query_params.get("device_token", "")
    if wired.settings.token_in_query is False and not in_query.startswith(MASK):
        in_query = ""
    person = _person(request, wired)
    token = token_of(request, wired, in_query=in_query)
    device: Device | None = None
    if person is not None and token.startswith(MASK):
        # As the list shows it: not the token, but whose it is, and this person may see it.
        device = find_device(wired, token.removeprefix(MASK))
        if device is not None and not is_theirs(wired, person, device):
            device = None
    elif token:
        device = _device(wired, token)
    if person is not None:
        count(wired, request, "user", person.name)
    elif device is not None:
        count(wired, request, "device", device.id)
    else:
        count(wired, request, "address", address_of(request))
    if not token:
        raise _missing("query.device_token")
    if device is None:
        wired.refusals.refuse("", "http", "bad_credentials", "poll with an unknown device_token", address_of(request))
        raise NotFound("Device not found")
    values, at = wired.twins.readings(device.id)
    values = for_devices(values)
    if person is None:
        wired.polled[device.id] = wired.clock.now_ms()
        wired.twins.polled(device.id, delivered=True)
        values = _short(values)
    shown = {"device_id": device.external_id, "data": values, "timestamp": iso(at)}
    return JSONResponse(shown, headers={"Cache-Control": "no-store"})


@router.get("/health", dependencies=[open_to_all], summary="How the server is doing")
async def health(request: Request) -> Response:
    """Always 200: ``degraded`` says that a part does not work."""
    wired = services_of(request)
    problems = wired.ready()
    store = wired.pipeline.state.name
    return JSONResponse(
        {
            "status": "degraded" if problems else "healthy",
            "timestamp": iso(wired.clock.now_ms()),
            "database": "connected" if store == "ok" else store,
            "mqtt": "connected" if all("MQTT" not in one for one in problems) else "disconnected",
            "websocket_connections": wired.dashboards.sockets,
        }
    )


def _read(request: Request, wired: Services, raw: bytes, device: Device | None) -> Body:
    try:
        return read_body(raw)
    except Invalid as problem:
        # Whoever floods with nonsense is counted as well.
        count(wired, request, "address", address_of(request))
        device_id = device.id if device is not None else ""
        wired.refusals.refuse(device_id, "http", problem.reason, problem.message, address_of(request))
        raise


async def _take(request: Request, wired: Services, device: Device, body: Body) -> tuple[dict[str, Any], dict[str, Any]]:
    """Store what a device said; the state that holds now, cut to what its firmware can read, and whole."""
    found = decoded(device.external_id, body, wired.clock.now_ms())
    # Checked already.
    found.token = None
    events = wired.intake.events(wired.dialects[CONTRACT], found, "http", address_of(request))
    if events:
        await wired.pipeline.accept(events)
    else:
        wired.polled[device.id] = wired.clock.now_ms()
    whole = for_devices(wired.twins.readings(device.id)[0])
    return _short(whole, body.data), whole


def _short(values: dict[str, Any], first: dict[str, Any] | None = None) -> dict[str, Any]:
    """``values`` as far as firmware can read them: pins first, then what it spoke of, then the rest."""
    if len(_encode(values)) <= _DATA_BYTES:
        return values
    said = first or {}
    kept: dict[str, Any] = {}
    left = _DATA_BYTES
    for key in sorted(values, key=lambda key: (PIN.fullmatch(key) is None, key != "led", key not in said)):
        size = len(_encode({key: values[key]}))
        if size <= left:
            kept[key] = values[key]
            left -= size
    return kept


def _person(request: Request, wired: Services) -> Identity | None:
    if not _is_persons(bearer(request)):
        return None
    try:
        return wired.auth.identify(request)
    except (Unauthenticated, Forbidden):
        return None


def _missing(field: str) -> Invalid:
    return Invalid(
        "missing", "device_token is missing", [FieldError(field.removeprefix("body."), "Field required", "missing")]
    )
