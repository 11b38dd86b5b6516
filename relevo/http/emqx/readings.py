"""``/api/readings/``: what sensors measured (contract emqx, section 5)."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo.domain.accounts import Role
from relevo.domain.book import CONTRACT, Placed
from relevo.domain.devices import Device
from relevo.domain.events import AnyEvent, SensorReading, SensorsRead, TelemetryReceived
from relevo.domain.grants import Right
from relevo.domain.managed import SENSORS, Sensor
from relevo.errors import Forbidden, Invalid, NotFound
from relevo.http.api.times import iso, parse_time
from relevo.http.description import OBJECT_BODY
from relevo.http.emqx import lists
from relevo.http.emqx.access import NOT_FOUND, Ask
from relevo.http.emqx.fields import Field, Problems, body_of, read, refused, whole
from relevo.http.emqx.mqtt import answer
from relevo.http.needs import Operator, Viewer
from relevo.http.services import Wired
from relevo.store import readings
from relevo.store.readings import Wanted

router = APIRouter(prefix="/api/readings", tags=["emqx"])

_FIELDS: Final = (
    Field("dispositivo", "whole", required=True),
    Field("sensor", "whole", required=True),
    Field("valor", "number", required=True),
    Field("timestamp", "text", nullable=True, high=40),
    Field("metadata_json", "object"),
)
_COLUMNS: Final = {"id": "id", "timestamp": "at", "valor": "value", "dispositivo": "device", "sensor": "sensor"}
_BULK_MOST: Final = 1_000
_LATEST: Final = 10
_LATEST_MOST: Final = 100
_DAY_MS: Final = 86_400_000


def _wanted(ask: Ask) -> Wanted:
    """What the query asks for, of what the asker may see. Raises :class:`Invalid`."""
    request = ask.request
    devices: tuple[str, ...] | None = None
    number = lists.number_asked(request, "dispositivo")
    if number is not None:
        found = ask.numbered(number)
        devices = (found.id,) if found is not None else ()
    elif ask.identity.role is not Role.ADMINISTRATOR:
        devices = tuple(one.id for one in ask.devices())
    bounds = [request.query_params.get(name) for name in ("fecha_inicio", "fecha_fin")]
    return Wanted(
        devices,
        lists.number_asked(request, "sensor"),
        parse_time(bounds[0], "fecha_inicio", 0) if bounds[0] else None,
        parse_time(bounds[1], "fecha_fin", 0) if bounds[1] else None,
        lists.switch_asked(request, "mqtt_only"),
    )


def _shown(ask: Ask, row: dict[str, Any]) -> dict[str, Any]:
    device = ask.wired.registry.get(row["device"])
    found = ask.book.get(SENSORS, row["sensor"])
    sensor = found.body if found is not None and isinstance(found.body, Sensor) else Sensor("", "")
    mqtt = row["message_id"] >= 0
    return {
        "id": row["id"],
        "dispositivo": device.registered_seq if device is not None else None,
        "dispositivo_nombre": device.name if device is not None else "",
        "sensor": row["sensor"],
        "sensor_nombre": sensor.nombre,
        "sensor_unidad": sensor.unidad_medida,
        "valor": row["value"],
        "timestamp": iso(row["at"]),
        "metadata_json": row["metadata"],
        "mqtt_message_id": str(row["message_id"]) if mqtt else None,
        "mqtt_qos": row["qos"] if mqtt else None,
        "mqtt_retained": row["retained"],
    }


@router.get("/", summary="Readings of sensors")
async def all_readings(request: Request, wired: Wired, identity: Viewer) -> Response:
    """Newest first, in pages of 50; `dispositivo`, `sensor`, `fecha_inicio`, `fecha_fin`, `mqtt_only`, `ordering`."""
    ask = Ask(request, wired, identity)
    page, size = lists.window(request)
    order = [one for one in lists.asked_order(request) if one.lstrip("-") in _COLUMNS]
    columns = [one[: one.startswith("-")] + _COLUMNS[one.lstrip("-")] for one in order] or ["-at"]
    wanted = _wanted(ask)
    if not page:
        figures = await wired.readers.run_core(readings.figures, wanted)
        page = max(1, -(-figures.total // size))
    total, rows = await wired.readers.run_core(readings.page, wanted, columns, (page - 1) * size, size)
    return answer(lists.envelope(request, total, page, size, [_shown(ask, row) for row in rows]))


@router.post("/", status_code=201, summary="Add a reading", openapi_extra=OBJECT_BODY)
async def create(request: Request, wired: Wired, identity: Operator) -> Response:
    """400 when the sensor is not assigned to the device, or the value is beyond its range."""
    ask = Ask(request, wired, identity)
    device, placed, one = _checked(ask, await body_of(request))
    digest = secrets.randbits(52)
    await wired.pipeline.accept(_events(ask, device, [(placed, one)], digest))
    wanted = Wanted((device.id,), one.sensor, one.at, one.at)
    _, rows = await wired.readers.run_core(readings.page, wanted, ["-id"], 0, 50)
    made = next((row for row in rows if row["digest"] == digest), None)
    if made is None:
        raise NotFound(NOT_FOUND)
    return answer(_shown(ask, made), 201)


@router.post("/bulk/", status_code=201, summary="Add many readings", openapi_extra=OBJECT_BODY)
async def bulk(request: Request, wired: Wired, identity: Operator) -> Response:
    """`{"lecturas": […]}`; a bad one loses no other and stands in `errores` with its place."""
    ask = Ask(request, wired, identity)
    given = (await body_of(request)).get("lecturas")
    if not isinstance(given, list) or not given:
        raise refused("lecturas", "Debe ser una lista con al menos una lectura.")
    if len(given) > _BULK_MOST:
        raise refused("lecturas", f"Como máximo {_BULK_MOST} lecturas por petición.")
    by_device: dict[str, tuple[Device, list[tuple[Placed, SensorReading]]]] = {}
    errors: list[dict[str, Any]] = []
    for n, body in enumerate(given):
        try:
            device, placed, one = _checked(ask, body if isinstance(body, dict) else {})
        except Invalid as problem:
            named: dict[str, list[str]] = {}
            for each in problem.errors:
                named.setdefault(each.field, []).append(each.message)
            errors.append({"indice": n, "errores": named or {"non_field_errors": [problem.message]}})
            continue
        by_device.setdefault(device.id, (device, []))[1].append((placed, one))
    count = sum(len(found) for _, found in by_device.values())
    if not count:
        return answer({"lecturas": ["Ninguna lectura es válida."], "errores": errors}, 400)
    events: list[AnyEvent] = []
    for device, found in by_device.values():
        events += _events(ask, device, found, secrets.randbits(52))
    await wired.pipeline.accept(events)
    told = {"message": f"{count} lecturas creadas correctamente", "count": count}
    return answer(told | ({"errores": errors} if errors else {}), 201)


@router.get("/{number}/", summary="One reading")
async def one_reading(request: Request, wired: Wired, identity: Viewer, number: str) -> Response:
    """`estadisticas` and `ultimas` in the place of the number are figures and the newest ones."""
    ask = Ask(request, wired, identity)
    if number == "estadisticas":
        return answer(await _figures(ask))
    if number == "ultimas":
        limit = lists.number_asked(request, "limit")
        most = min(limit, _LATEST_MOST) if limit is not None and limit > 0 else _LATEST
        _, rows = await wired.readers.run_core(readings.page, _wanted(ask), ["-at"], 0, most)
        return answer([_shown(ask, row) for row in rows])
    value = whole(number)
    if value is None:
        raise NotFound(NOT_FOUND)
    devices = None if identity.role is Role.ADMINISTRATOR else tuple(one.id for one in ask.devices())
    _, rows = await wired.readers.run_core(readings.page, Wanted(devices, number=value), ["id"], 0, 1)
    if not rows:
        raise NotFound(NOT_FOUND)
    return answer(_shown(ask, rows[0]))


async def _figures(ask: Ask) -> dict[str, Any]:
    found = await ask.wired.readers.run_core(readings.figures, _wanted(ask))
    return {
        "total": found.total,
        "promedio": found.mean,
        "maximo": found.largest,
        "minimo": found.smallest,
        "lecturas_mqtt": found.mqtt,
    }


def _checked(ask: Ask, body: dict[str, Any]) -> tuple[Device, Placed, SensorReading]:
    """What a body says. Raises :class:`Invalid` that names the field, :class:`Forbidden`."""
    problems = Problems()
    values = read(_FIELDS, body, problems, partial=False)
    device = ask.numbered(values["dispositivo"]) if "dispositivo" in values else None
    if "dispositivo" in values and device is None:
        problems.add("dispositivo", f'Clave primaria "{values["dispositivo"]}" inválida - objeto no existe.')
    if "sensor" in values and ask.book.get(SENSORS, values["sensor"]) is None:
        problems.add("sensor", f'Clave primaria "{values["sensor"]}" inválida - objeto no existe.')
    at = ask.now
    if values.get("timestamp"):
        try:
            at = parse_time(values["timestamp"], "timestamp", at)
        except Invalid:
            problems.add("timestamp", "Fecha/hora con formato erróneo; use ISO 8601.")
        else:
            if at > ask.now + _DAY_MS:
                problems.add("timestamp", "Está más de un día en el futuro.")
    problems.end()
    assert device is not None
    if ask.right(device) < Right.CONTROL:
        raise Forbidden("No tiene permiso para escribir lecturas de este dispositivo.")
    profile = ask.book.profile(device.external_id)
    placed = next((one for one in profile.sensors if one.number == values["sensor"]), None) if profile else None
    if placed is None:
        raise refused("sensor", "El sensor no está asignado a este dispositivo.")
    value = values["valor"]
    if not placed.sensor.believes(value):
        low, high = placed.sensor.rango_min, placed.sensor.rango_max
        raise refused("valor", f"Fuera del rango del sensor ({low} a {high}).")
    return device, placed, SensorReading(placed.number, at, value, values.get("metadata_json", {}))


def _events(ask: Ask, device: Device, found: Sequence[tuple[Placed, SensorReading]], digest: int) -> list[AnyEvent]:
    """Readings that somebody wrote down, as the device's telemetry and with numbers of their own."""
    by_time: dict[int, dict[str, Any]] = {}
    for placed, one in found:
        by_time.setdefault(one.at, {})[placed.key] = one.value
    events: list[AnyEvent] = []
    dialect = ask.wired.dialects[CONTRACT]
    for at, values in by_time.items():
        event = TelemetryReceived(device.id, at, "server", ask.now, values)
        events += [event, *ask.wired.dispatch.heard(dialect, device.id, event)]
    events.append(SensorsRead(device.id, ask.now, [one for _, one in found], digest=digest))
    return events
