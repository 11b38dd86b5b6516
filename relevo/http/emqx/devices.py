"""``/api/devices/``: devices of contract emqx, rows of the one registry (section 5)."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo.domain.book import CLIENT_ID, CONTRACT, MQTT_ENABLED, UNIQUE
from relevo.domain.devices import Device
from relevo.domain.events import DeviceChanged, DeviceRegistered
from relevo.domain.managed import ASSIGNMENTS, SENSORS, Assignment, Managed, Sensor
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, Invalid, NotFound
from relevo.http.api.devices import removal
from relevo.http.api.names import check_name
from relevo.http.api.taking import refuse_blocked, spent
from relevo.http.api.times import iso
from relevo.http.description import OBJECT_BODY
from relevo.http.emqx import lists
from relevo.http.emqx.access import (
    NOT_FOUND,
    Ask,
    client_id_of,
    is_enabled,
    name_of,
    person_numbered,
    status_of,
    user_number,
)
from relevo.http.emqx.fields import Field, Problems, body_of, failed, read, whole
from relevo.http.emqx.mqtt import answer
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Wired
from relevo.pipeline import Entry

router = APIRouter(prefix="/api/devices", tags=["emqx"])

TYPES: Final = {
    "raspberry_pi": "Raspberry Pi",
    "esp32": "ESP32",
    "arduino": "Arduino",
    "esp8266": "ESP8266",
    "stm32": "STM32",
    "otro": "Otro",
}
STATES: Final = {
    "activo": "Activo",
    "inactivo": "Inactivo",
    "mantenimiento": "En mantenimiento",
    "desconectado": "Desconectado",
}
_IDENTITY: Final = 100
_TEXTS: Final = ("ubicacion", "descripcion")
FIELDS: Final = (
    Field("nombre", required=True, high=100),
    Field("tipo", "choice", required=True, choices=TYPES),
    Field(UNIQUE, required=True, high=_IDENTITY),
    Field("ubicacion", high=255),
    Field("estado", "choice", choices=STATES),
    Field("descripcion", high=1_024),
    Field(MQTT_ENABLED, "switch"),
    Field(CLIENT_ID, high=_IDENTITY),
    Field("operador_asignado", "text", nullable=True),
)
_ORDERED: Final = ("id", "nombre", "tipo", "estado", UNIQUE, "last_seen", "connection_status", "created_at")


def render(ask: Ask, device: Device) -> dict[str, Any]:
    wired, attributes = ask.wired, device.attributes
    placed = [(one, one.body) for one in ask.book.of_device(device.id) if isinstance(one.body, Assignment)]
    estado = str(attributes.get("estado", "activo"))
    return {
        "id": device.registered_seq,
        "nombre": device.name,
        "tipo": device.type,
        "tipo_display": TYPES.get(device.type, device.type),
        UNIQUE: name_of(device),
        "ubicacion": str(attributes.get("ubicacion", "")),
        "estado": estado,
        "estado_display": STATES.get(estado, estado),
        "descripcion": str(attributes.get("descripcion", "")),
        MQTT_ENABLED: is_enabled(device),
        CLIENT_ID: client_id_of(device),
        "operador_asignado": user_number(device.owner) if device.owner else None,
        "operador_asignado_nombre": device.owner or None,
        "last_seen": iso(wired.latest(device.id)[1]),
        "connection_status": status_of(wired, device),
        "sensores_asignados": [_assigned(ask, *one) for one in placed],
        "cantidad_sensores": len(placed),
        "sensores_sugeridos": [
            {"clave": one.key, "veces": one.times, "valor": one.value, "timestamp": iso(one.at)}
            for one in wired.managed.suggestions(device.id)
        ],
        "created_at": iso(device.registered_at),
    }


def _assigned(ask: Ask, record: Managed, body: Assignment) -> dict[str, Any]:
    found = ask.book.get(SENSORS, body.sensor)
    sensor = found.body if found is not None and isinstance(found.body, Sensor) else Sensor("", "")
    return {
        "id": record.number,
        "sensor": body.sensor,
        "sensor_id": body.sensor,
        "sensor_nombre": sensor.nombre,
        "sensor_tipo": sensor.tipo,
        "unidad_medida": sensor.unidad_medida,
        "mqtt_topic_suffix": sensor.mqtt_topic_suffix,
        "configuracion_json": body.configuracion_json,
        "fecha_asignacion": iso(record.created_at),
    }


@router.get("/", summary="Devices of contract emqx")
async def all_devices(request: Request, wired: Wired, identity: Viewer) -> Response:
    """Those that one may view, in pages of 50."""
    ask = Ask(request, wired, identity)
    found = [render(ask, one) for one in ask.devices()]
    for name in ("tipo", "estado", "connection_status"):
        wanted = request.query_params.get(name, "")
        found = [one for one in found if not wanted or one[name] == wanted]
    if request.query_params.get(MQTT_ENABLED, ""):
        on = lists.switch_asked(request, MQTT_ENABLED)
        found = [one for one in found if one[MQTT_ENABLED] is on]
    operator = lists.number_asked(request, "operador_asignado")
    found = [one for one in found if operator is None or one["operador_asignado"] == operator]
    found = lists.searched(request, found, ("nombre", UNIQUE, CLIENT_ID, "ubicacion", "descripcion"))
    return answer(lists.paged(request, lists.ordered(request, found, _ORDERED, "id"), lambda one: one))


@router.post("/", status_code=201, summary="Add a device of contract emqx", openapi_extra=OBJECT_BODY)
async def create(request: Request, wired: Wired, identity: Administrator) -> Response:
    """201; 400 names every wrong field."""
    ask, problems = Ask(request, wired, identity), Problems()
    values = read(FIELDS, await body_of(request), problems, partial=False)
    async with wired.managed.writing:
        owner = _operator(ask, values, problems)
        external_id = _identity(ask, values, None, problems)
        problems.end()
        refuse_blocked(wired, CONTRACT, external_id)
        device_id = wired.registry.free_id(CONTRACT, external_id)
        check_name(wired, device_id, UNIQUE)
        event = DeviceRegistered(
            device_id,
            CONTRACT,
            external_id,
            values["nombre"],
            values["tipo"],
            ask.now,
            by=identity.name,
            attributes=_attributes({}, values),
            owner=owner or "",
        )
        audited = wired.audited(request, identity, "device.create", device_id, {"contract": CONTRACT})
        outcome = await wired.pipeline.accept([event, audited, *spent(wired, CONTRACT, external_id)])
    device = wired.registry.find(CONTRACT, external_id)
    if outcome.lost or device is None:
        raise Conflict("Ya existe un dispositivo con esta identidad.")
    return answer(render(ask, device), 201)


@router.get("/{number}/", summary="One device of contract emqx")
async def one_device(request: Request, wired: Wired, identity: Viewer, number: str) -> Response:
    """`tipos` and `mqtt-devices` in the place of the number are lists of their own."""
    ask = Ask(request, wired, identity)
    if number == "tipos":
        return answer([{"value": value, "label": label} for value, label in TYPES.items()])
    if number == "mqtt-devices":
        return answer([render(ask, one) for one in ask.devices() if is_enabled(one)])
    return answer(render(ask, ask.device(number)))


async def _change(ask: Ask, number: str, partial: bool) -> Response:
    problems = Problems()
    values = read(FIELDS, await body_of(ask.request), problems, partial=partial)
    async with ask.wired.managed.writing:
        device = ask.device(number)
        owner = _operator(ask, values, problems)
        external_id = _identity(ask, values, device, problems)
        problems.end()
        changes: dict[str, Any] = {"attributes": _attributes(device.attributes, values)}
        for field, column in (("nombre", "name"), ("tipo", "type")):
            if field in values:
                changes[column] = values[field]
        if external_id != device.external_id:
            changes["external_id"] = external_id
        if owner is not None:
            changes["owner"] = owner
        await _commit(ask, device, changes, {"changes": sorted(values)})
    return answer(render(ask, ask.device(number)))


async def _commit(ask: Ask, device: Device, changes: dict[str, Any], detail: dict[str, Any]) -> None:
    changed = DeviceChanged(device.id, ask.now, changes, ask.identity.name)
    audited = ask.wired.audited(ask.request, ask.identity, "device.change", device.id, detail)
    outcome = await ask.wired.pipeline.accept([changed, audited])
    if outcome.lost:
        raise Conflict("Ya existe un dispositivo con esta identidad.")


@router.put("/{number}/", summary="Replace a device's properties", openapi_extra=OBJECT_BODY)
async def replace(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    """Needs what is required; of what is absent nothing changes."""
    return await _change(Ask(request, wired, identity), number, False)


@router.patch("/{number}/", summary="Change a device's properties", openapi_extra=OBJECT_BODY)
async def change(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    return await _change(Ask(request, wired, identity), number, True)


@router.delete("/{number}/", status_code=204, summary="Remove a device of contract emqx")
async def delete(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    """With its account, settings, rules and assignments; connections end at once."""
    ask = Ask(request, wired, identity)
    async with wired.managed.writing:
        device = ask.device(number)
        more: list[Entry] = [Dropped(Managed, one.id) for one in ask.book.of_device(device.id)]
        audited = wired.audited(request, identity, "device.delete", device.id)
        await wired.pipeline.accept([*removal(wired, device, identity.name), *more, audited])
    return Response(status_code=204)


@router.post(
    "/{number}/{action}/", status_code=201, summary="Assign a sensor or an operator", openapi_extra=OBJECT_BODY
)
async def act(request: Request, wired: Wired, identity: Administrator, number: str, action: str) -> Response:
    """`assign-sensor` (201) and `assign-operator` (200)."""
    ask = Ask(request, wired, identity)
    device = ask.device(number)
    if action == "assign-sensor":
        return answer(await _assign_sensor(ask, device, await body_of(request)), 201)
    if action == "assign-operator":
        return answer(await _assign_operator(ask, device, await body_of(request)))
    raise NotFound(NOT_FOUND)


@router.delete("/{number}/{action}/", summary="Take a sensor from a device")
async def remove_sensor(request: Request, wired: Wired, identity: Administrator, number: str, action: str) -> Response:
    """`remove-sensor/?sensor_id=`: its readings stay."""
    ask = Ask(request, wired, identity)
    if action != "remove-sensor":
        raise NotFound(NOT_FOUND)
    device = ask.device(number)
    sensor = lists.number_asked(request, "sensor_id")
    if sensor is None:
        raise failed("sensor_id es requerido")
    async with wired.managed.writing:
        held = ask.book.all(ASSIGNMENTS, Assignment)
        found = [each for each, one in held if (one.device, one.sensor) == (device.id, sensor)]
        if not found:
            raise NotFound("El sensor no está asignado a este dispositivo")
        gone: list[Entry] = [Dropped(Managed, f"{ASSIGNMENTS}:{each}") for each in found]
        audited = wired.audited(request, identity, "device.sensor.remove", device.id, {"sensor": sensor})
        await wired.pipeline.accept([*gone, audited])
    return answer({"message": "Sensor removido del dispositivo"})


async def _assign_sensor(ask: Ask, device: Device, body: dict[str, Any]) -> dict[str, Any]:
    number = whole(body.get("sensor_id", body.get("sensor")))
    if number is None:
        raise failed("sensor_id es requerido")
    settings = body.get("configuracion_json") or {}
    if not isinstance(settings, dict):
        raise failed("configuracion_json debe ser un objeto")
    async with ask.wired.managed.writing:
        if ask.book.get(SENSORS, number) is None:
            raise failed("Sensor no encontrado")
        held = ask.book.all(ASSIGNMENTS, Assignment)
        if any((one.device, one.sensor) == (device.id, number) for _, one in held):
            raise failed("El sensor ya está asignado a este dispositivo")
        record_id, numbers = ask.book.next(ASSIGNMENTS)
        made = Assignment(device.id, number, settings)
        record = Managed(record_id, made, ask.now, ask.now)
        audited = ask.wired.audited(ask.request, ask.identity, "device.sensor.assign", device.id, {"sensor": number})
        await ask.wired.pipeline.accept([Kept(record), Kept(numbers), audited])
    shown = _assigned(ask, record, made)
    return {"message": "Sensor asignado correctamente", "dispositivo": device.registered_seq} | shown


async def _assign_operator(ask: Ask, device: Device, body: dict[str, Any]) -> dict[str, Any]:
    names = ("operador_id", "operador_asignado", "operador", "operator_id", "user_id")
    said = next((body[name] for name in names if name in body), "")
    owner = ""
    if said is not None:
        person = person_numbered(ask.wired, said)
        if person is None:
            raise failed("Operador no encontrado")
        owner = person.name
    await _commit(ask, device, {"owner": owner}, {"changes": ["owner"], "owner": owner})
    return {"message": "Operador asignado correctamente", "dispositivo": render(ask, ask.device(device.registered_seq))}


def _operator(ask: Ask, values: dict[str, Any], problems: Problems) -> str | None:
    """The owner that ``values`` name, empty for nobody, ``None`` where they say nothing."""
    if "operador_asignado" not in values:
        return None
    said = values["operador_asignado"]
    if said is None:
        return ""
    person = person_numbered(ask.wired, said)
    if person is None:
        problems.add("operador_asignado", f'Clave primaria "{said[:64]}" inválida - objeto no existe.')
        return None
    return person.name


def _identity(ask: Ask, values: dict[str, Any], device: Device | None, problems: Problems) -> str:
    """The external identity by ``values``: the MQTT client id, or where it is empty the unique name."""
    own = device.id if device is not None else ""
    for name in (UNIQUE, CLIENT_ID):
        said = values.get(name)
        if not said:
            continue
        try:
            ask.wired.dialects[CONTRACT].normalise_id(said)
        except Invalid:
            problems.add(name, f"Debe tener de 1 a {_IDENTITY} caracteres, sin / + # $ {{ }}.")
            continue
        if ask.book.owner_of(said) not in ("", own):
            problems.add(name, f"Ya existe un dispositivo con este {name}.")
    before = {UNIQUE: name_of(device), CLIENT_ID: client_id_of(device)} if device is not None else {}
    after = before | {name: values[name] for name in (UNIQUE, CLIENT_ID) if name in values}
    return after.get(CLIENT_ID) or after.get(UNIQUE) or ""


def _attributes(before: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    known = (UNIQUE, CLIENT_ID, MQTT_ENABLED, "estado", *_TEXTS)
    return before | {name: values[name] for name in known if name in values}
