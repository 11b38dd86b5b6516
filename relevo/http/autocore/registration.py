"""How relay boards register and learn where the broker is (contract autocore, sections 3.1 and 8.1 to 8.4).

The C firmware reads answers into 1024 bytes and cannot undo chunks, so every answer is one short body with its length.
Any error makes a board keep what it has; a 200 with empty credentials would make it forget them.
"""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.dialects.autocore import UUID
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import LEARNED, Device
from relevo.domain.events import DeviceChanged, DeviceRegistered
from relevo.domain.keyring import LEGACY_PURPOSE, LEGACY_USER
from relevo.domain.networks import is_private
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Unauthenticated
from relevo.http.api.devices import check_storable, new_device_key
from relevo.http.api.taking import may_take, spent
from relevo.http.auth import bearer
from relevo.http.autocore.shapes import ACTIVE, CONTRACT, is_active, plain_mac, render, to_board, to_json
from relevo.http.needs import mqtt_settings, open_to_all, while_pairing
from relevo.http.services import Services, address_of, services_of
from relevo.wire.strict_json import loads_object

router = APIRouter(tags=["autocore"])

# The firmware's buffers.
_HOST, _USERNAME, _PASSWORD = 63, 31, 63
_RELAYS_MOST: Final = 32
_CAPABILITIES_BYTES: Final = 256
_TEXTS: Final = {"name": 128, "type": 64, "mac_address": 32, "ip_address": 45}
_VERSIONS: Final = ("firmware_version", "hardware_version")
_VERSION: Final = 32


@router.get("/api/devices/uuid/{uuid}", dependencies=[open_to_all], summary="Whether a relay board is registered")
async def by_uuid(request: Request, uuid: str) -> Response:
    """200 with the board, 404 is its signal to register. Without a sign-in nothing but what identifies it."""
    wired = services_of(request)
    device = wired.registry.find(CONTRACT, uuid)
    if device is None or not is_active(device):
        raise NotFound("Device not found")
    return to_board(render(wired, device, _sees(request, wired, device)))


@router.post("/api/devices", dependencies=[while_pairing], status_code=201, summary="A relay board registers itself")
async def register(request: Request) -> Response:
    """201; 409 for a uuid or MAC address that is known, 403 and an unclaimed entry while nothing is open, 422."""
    wired = services_of(request)
    try:
        said = _registration(loads_object(await request.body()))
    except Invalid as problem:
        wired.refusals.refuse("", "http", problem.reason, f"registration: {problem.message}", address_of(request))
        errors = problem.errors or [FieldError("", problem.message, problem.reason)]
        detail = [{"loc": ["body", one.field], "msg": one.message[:200], "type": one.reason} for one in errors[:3]]
        return JSONResponse({"detail": detail}, 422)
    uuid = said.pop("uuid")
    address = address_of(request)
    known = wired.registry.find(CONTRACT, uuid)
    if known is not None and is_active(known):
        raise Conflict("Device already registered")
    person = _operator(request, wired)
    blocked = wired.intake.blocked(CONTRACT, uuid, address)
    if blocked is not None:
        wired.refusals.refuse("", "http", blocked.reason, blocked.message, address)
        raise Forbidden("Registration is closed for this device")
    if person is None and not (wired.intake.registration_open and is_private(address)):
        reason = "registration_not_private" if wired.intake.registration_open else "registration_closed"
        wired.intake.stranger(CONTRACT, uuid, reason, address, {"uuid": uuid} | said)
        # Whoever hears 403 finds the entry in the list.
        await wired.pipeline.accept([])
        raise Forbidden("Registration is closed: open pairing, or approve this device in the list of unclaimed devices")
    if person is not None and not may_take(wired, person, CONTRACT, uuid):
        raise Forbidden("This device has a claim code: claim it with the code on its label")
    mac = plain_mac(said.get("mac_address"))
    with wired.claims.taking(CONTRACT, uuid), wired.claims.taking("mac address", mac or uuid):
        if mac and any(_has_mac(one, mac, uuid) for one in wired.registry.of_contract(CONTRACT)):
            raise Conflict("Another device with this MAC address is registered")
        return await _register(request, wired, uuid, said, person)


async def _register(
    request: Request, wired: Services, uuid: str, said: dict[str, Any], person: Identity | None
) -> Response:
    key = new_device_key()
    former = wired.registry.find(CONTRACT, uuid)
    if former is not None:
        return await _again(request, wired, former, said, person, key)
    device_id = wired.registry.free_id(CONTRACT, uuid)
    by = person.name if person is not None else "registration"
    event = DeviceRegistered(
        device_id,
        CONTRACT,
        uuid,
        said.pop("name"),
        said.pop("type"),
        wired.clock.now_ms(),
        wired.keyring.hash(key.encode()),
        by,
        attributes=said,
        owner=person.name if person is not None else "",
    )
    entries: list[Any] = [event]
    if person is not None:
        entries.append(wired.audited(request, person, "device.create", device_id, {"contract": CONTRACT}))
        # Nobody's yet otherwise: its label still claims it.
        entries += spent(wired, CONTRACT, uuid)
    outcome = await wired.pipeline.accept(entries)
    device = wired.registry.find(CONTRACT, uuid)
    if outcome.lost or device is None:
        raise Conflict("Device already registered")
    # A board that knows what it is for may use it; the others pass over it.
    return to_board(render(wired, device, True), 201, {"device_token": key})


async def _again(
    request: Request, wired: Services, device: Device, said: dict[str, Any], person: Identity | None, key: str
) -> Response:
    """A board that was deleted and comes back is the one that it was, with another key."""
    by = person.name if person is not None else "registration"
    changes: dict[str, Any] = {
        "name": said.pop("name"),
        "type": said.pop("type"),
        "key_hash": wired.keyring.hash(key.encode()),
        LEARNED: {**said, ACTIVE: None},
    }
    entries: list[Any] = [DeviceChanged(device.id, wired.clock.now_ms(), changes, by)]
    if person is not None:
        entries.append(wired.audited(request, person, "device.create", device.id, {"contract": CONTRACT}))
    await wired.pipeline.accept(entries)
    again = wired.registry.get(device.id) or device
    return to_board(render(wired, again, True), 201, {"device_token": key})


def _has_mac(device: Device, mac: str, uuid: str) -> bool:
    """Whether another board that counts has this address."""
    return device.external_id != uuid and is_active(device) and plain_mac(device.attributes.get("mac_address")) == mac


@router.get("/api/mqtt/config", dependencies=[mqtt_settings], summary="Where a relay board finds the broker")
async def mqtt_config(request: Request) -> Response:
    """Credentials of its own for a board that shows its key, the account of boards without one while that is open."""
    wired = services_of(request)
    username, password = credentials(request, wired)
    host, port = place_of(request, wired)
    return to_board(
        {
            "broker": host,
            "port": port,
            "broker_host": host,
            "broker_port": port,
            "username": username,
            "password": password,
            "topic_prefix": wired.dialects[CONTRACT].options()["topic_prefix"],
        }
    )


def place_of(request: Request, wired: Services) -> tuple[str, int]:
    """Host and port of the broker, for whoever asks under this name. Raises :class:`Invalid`."""
    host = request.url.hostname or ""
    if not 0 < len(host) <= _HOST:
        raise Invalid("host_invalid", f"the host name of this request must have 1 to {_HOST} characters")
    return host, wired.figures()["mqtt"]["port"]


def credentials(request: Request, wired: Services, signed_in: bool = False) -> tuple[str | None, str | None]:
    """User name and password for whoever asks; nulls where the broker wants none. A person gets what is open to all.

    Raises :class:`Forbidden` and :class:`Unauthenticated`: any error makes a board keep what it has.
    """
    shown = "" if signed_in else bearer(request)
    address = address_of(request)
    device = wired.registry.get(wired.auth.device_of(request)) if shown else None
    if device is not None:
        # What is kept of a key cannot be turned back into it; the board has just shown it.
        if device.contract != CONTRACT or len(device.id) > _USERNAME or len(shown) > _PASSWORD:
            raise Forbidden(
                f"MQTT settings are for {CONTRACT} devices whose id has at most {_USERNAME} characters "
                f"and whose key has at most {_PASSWORD}"
            )
        return device.id, shown
    if shown and not _is_person(request, wired):
        raise Unauthenticated("this is no device's key")
    if is_private(address):
        if wired.settings.open_mqtt_config or wired.pairing.window is not None:
            return LEGACY_USER, wired.keyring.secret_for(LEGACY_PURPOSE)
        if wired.settings.anonymous_mqtt:
            return None, None
    wired.refusals.refuse("", "http", "mqtt_config_closed", "MQTT settings were asked for without a key", address)
    raise Forbidden("MQTT settings are given to devices that show their key, or to all while pairing is open")


def _is_person(request: Request, wired: Services) -> bool:
    """A display or tool with somebody's token gets what is open to all."""
    try:
        wired.auth.identify(request)
    except Unauthenticated:
        return False
    return True


def _registration(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a registration. Raises :class:`Invalid` with every field that is wrong."""
    wrong: list[FieldError] = []
    kept: dict[str, Any] = {}
    for name, most in {"uuid": 36, **_TEXTS, **dict.fromkeys(_VERSIONS, _VERSION)}.items():
        value = body.get(name)
        if value is None:
            if name in ("uuid", "name", "type"):
                wrong.append(FieldError(name, f"{name} is missing", "missing"))
            continue
        if type(value) is not str or not value.strip() or len(value) > most or not value.isprintable():
            wrong.append(FieldError(name, f"{name} must be 1 to {most} printable characters"))
        elif name == "uuid" and not UUID.fullmatch(value):
            wrong.append(FieldError(name, "uuid must be 1 to 36 characters of A-Z a-z 0-9 _ . : -"))
        else:
            kept[name] = value
    relays = body.get("relay_channels")
    if relays is not None:
        if type(relays) is int and 1 <= relays <= _RELAYS_MOST:
            kept["relay_channels"] = relays
        else:
            wrong.append(
                FieldError("relay_channels", f"relay_channels must be a whole number from 1 to {_RELAYS_MOST}")
            )
    capabilities = body.get("capabilities")
    if type(capabilities) in (list, dict):
        if len(to_json(capabilities)) <= _CAPABILITIES_BYTES:
            kept["capabilities"] = capabilities
        else:
            wrong.append(FieldError("capabilities", f"capabilities must have at most {_CAPABILITIES_BYTES} bytes"))
    if wrong:
        raise Invalid("registration_invalid", wrong[0].message, wrong)
    check_storable(kept, "body")
    return kept


def _operator(request: Request, wired: Services) -> Identity | None:
    """The operator whose token a tool shows; ``None`` for a board, which shows none or its own key."""
    if not bearer(request) or wired.auth.device_of(request):
        return None
    return wired.auth.require(request, Role.OPERATOR)


def _sees(request: Request, wired: Services, device: Device) -> bool:
    if not request.headers.get("authorization"):
        return False
    if wired.auth.is_device(request, device):
        return True
    try:
        return bool(wired.auth.people.right(wired.auth.identify(request), device))
    except Unauthenticated:
        return False
