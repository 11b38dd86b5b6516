"""``POST /api/v1/devices/{id}/telemetry`` and ``POST /api/v1/telemetry``: readings over HTTP.

Plain routes with typed decoding, because they are as hot as the MQTT door. 200 is sent after the commit, like PUBACK.
A refused item is named with its position and loses nothing else; when nothing of a request can be stored it is 422.
"""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relevo.dialect import Decoded
from relevo.dialects.native import Item, Native
from relevo.domain.accounts import Identity, Role
from relevo.domain.events import TelemetryReceived
from relevo.domain.grants import Right
from relevo.domain.networks import is_private
from relevo.errors import FieldError, Forbidden, Invalid, NotFound, Unauthenticated
from relevo.http.needs import NEEDS
from relevo.http.services import Services, address_of, services_of

_encode: Final = msgspec.json.Encoder().encode
_CONTRACT: Final = "native"


def _lab_device(request: Request, wired: Services) -> bool:
    """In the lab profile devices on private addresses need no key."""
    return wired.settings.profile == "lab" and is_private(address_of(request))


def _admit(request: Request, wired: Services, device_id: str) -> None:
    """Raises unless the request may write readings of ``device_id``."""
    device = wired.registry.get(device_id)
    if device is not None and wired.auth.is_device(request, device):
        return
    try:
        identity = wired.auth.identify(request)
    except Unauthenticated:
        if _lab_device(request, wired):
            return
        wired.refusals.refuse(
            device_id if device is not None else "",
            "http",
            "bad_credentials",
            f"telemetry of {device_id[:64]!r} without its key",
            address_of(request),
        )
        raise
    if device is None:
        if not identity.at_least(Role.OPERATOR):
            raise Forbidden("needs the device's key or the role operator")
        return
    wired.auth.device_for(identity, device_id, Right.CONTROL)


async def _post_one(request: Request) -> Response:
    """Readings of one device: an object of values, a wrapped reading, or a list of wrapped readings."""
    wired = services_of(request)
    device_id = request.path_params["device_id"]
    _admit(request, wired, device_id)
    device = wired.registry.get(device_id)
    if device is None and not (_lab_device(request, wired) and wired.intake.registration_open):
        detail = f"readings for {device_id[:64]!r}, which is no device here"
        wired.refusals.refuse("", "http", "device_unknown", detail, address_of(request))
        raise NotFound(f"no device {device_id!r}")
    external_id = device.external_id if device is not None else device_id
    native = _native(wired)
    try:
        items = native.readings(await request.body(), wired.clock.now_ms(), external_id)
    except Invalid as problem:
        wired.intake.refuse(device.contract if device else _CONTRACT, external_id, "http", problem, address_of(request))
        raise
    contract = device.contract if device is not None else _CONTRACT
    return await _store(request, wired, items, contract)


async def _post_many(request: Request) -> Response:
    """Readings of many devices, each item naming its own."""
    wired = services_of(request)
    identity: Identity | None = None
    try:
        identity = wired.auth.require(request, Role.OPERATOR)
    except Unauthenticated:
        if not _lab_device(request, wired) and not wired.auth.device_of(request):
            raise
    try:
        items = _native(wired).collection(await request.body(), wired.clock.now_ms())
    except Invalid as problem:
        wired.refusals.refuse("", "http", problem.reason, problem.message, address_of(request))
        raise
    for item in items:
        if item.event is None:
            continue
        device = wired.registry.get(item.device)
        if identity is None and not _lab_device(request, wired):
            # A device's key opens its own items alone.
            if device is None or not wired.auth.is_device(request, device):
                item.event = None
                item.refused = [Invalid("not_allowed", f"device {item.device!r} is not the one this key belongs to")]
        elif identity is not None and device is not None and not wired.auth.may(identity, device.id, Right.CONTROL):
            item.event = None
            item.refused = [Invalid("device_unknown", f"no device {item.device!r} that you may control")]
        elif device is None and not (wired.intake.registration_open and _lab_device(request, wired)):
            item.event = None
            item.refused = [Invalid("device_unknown", f"no device {item.device!r}")]
    return await _store(request, wired, items, _CONTRACT)


def _native(wired: Services) -> Native:
    native = wired.dialects[_CONTRACT]
    assert isinstance(native, Native)
    return native


async def _store(request: Request, wired: Services, items: list[Item], contract: str) -> Response:
    kept = [item for item in items if item.event is not None]
    decoded = Decoded(
        [(_identity(wired, item), item.event) for item in kept if item.event is not None],
        [(_identity(wired, item), problem) for item in items for problem in item.refused],
        [(item.device, item.note, f"item {item.index}") for item in items if item.note not in ("", "clock_missing")],
    )
    dialect = wired.dialects[contract]
    events = wired.intake.events(dialect, decoded, "http", address_of(request))
    refused = [
        {
            "index": item.index,
            "stored": item.event is not None,
            "reason": problem.reason,
            "detail": problem.message,
            "errors": [{"field": one.field, "message": one.message} for one in problem.errors],
        }
        for item in items
        for problem in item.refused
    ]
    if not kept and items:
        problem = next(problem for item in items for problem in item.refused)
        errors = [
            FieldError(f"{item.index}.{error.field}" if error.field else str(item.index), error.message, error.reason)
            for item in items
            for one in item.refused
            for error in (one.errors or [FieldError("", one.message, one.reason)])
        ]
        raise Invalid(problem.reason, problem.message, errors[:100])
    outcome = await wired.pipeline.accept(events)
    readings = sum(1 for event in events if isinstance(event, TelemetryReceived))
    missing = len(outcome.duplicates) + len(outcome.lost)
    body: dict[str, Any] = {
        "accepted": len(kept),
        "stored": readings - missing,
        "duplicates": len(outcome.duplicates),
        "refused": refused,
    }
    return Response(_encode(body), media_type="application/json")


def _identity(wired: Services, item: Item) -> str:
    """Items name devices by registry id; the intake asks for the contract's identity."""
    device = wired.registry.get(item.device)
    return device.external_id if device is not None else item.device


routes: Final = [
    Route("/api/v1/devices/{device_id}/telemetry", _post_one, methods=["POST"]),
    Route("/api/v1/telemetry", _post_many, methods=["POST"]),
]

_READING: Final = {
    "type": "object",
    "required": ["values"],
    "properties": {
        "ts": {
            "description": "Milliseconds UTC; also seconds, microseconds, ISO 8601 and boot-relative times are mapped.",
            "anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "string"}],
        },
        "values": {"type": "object", "description": "Numbers, booleans, strings or small JSON by key."},
        "boot": {"type": "integer", "minimum": 0},
        "seq": {"type": "integer", "minimum": 0},
    },
}
_PROBLEM: Final = {
    "description": "Refused",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


def _item(schema: dict[str, Any]) -> dict[str, Any]:
    """An item of a batch is not bound by its schema: one that breaks it is refused by itself and named."""
    return {"description": "A reading; one that is none is refused by itself.", "x-schema": schema}


def _operation(summary: str, needs: str, schema: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        NEEDS: needs,
        "tags": ["telemetry"],
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {
                "description": "Committed. `refused` names what was left out, with its position and reason.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                "accepted": {"type": "integer"},
                                "stored": {"type": "integer"},
                                "duplicates": {"type": "integer"},
                                "refused": {"type": "array", "items": {"type": "object"}},
                            },
                        }
                    }
                },
            },
            **dict.fromkeys(("400", "401", "403", "404", "413", "422", "503"), _PROBLEM),
        },
    }


OPENAPI_PATHS: Final[dict[str, Any]] = {
    "/api/v1/devices/{device_id}/telemetry": {
        "post": _operation(
            "Store readings of one device",
            "who may control the device, and the device with its key",
            {"anyOf": [{"type": "object"}, {"type": "array", "items": _item(_READING)}]},
            [{"name": "device_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        )
    },
    "/api/v1/telemetry": {
        "post": _operation(
            "Store readings of many devices",
            "operators for the devices they may control, and a device with its key for itself",
            {"type": "array", "items": _item(_READING | {"required": ["device", "values"]})},
            [],
        )
    },
}
