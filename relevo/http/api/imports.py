"""``POST /api/v1/imports``: history from a file (docs/import.md)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from relevo.domain.accounts import Identity
from relevo.domain.devices import check_id
from relevo.domain.events import DeviceChanged
from relevo.domain.grants import Right
from relevo.domain.zones import check_zone
from relevo.errors import Conflict, FieldError, Invalid, RelevoError
from relevo.exchange.imports import Import, Report
from relevo.exchange.protocol import ImportWanted
from relevo.http.api.devices import NewDevice, register
from relevo.http.needs import ImportsDevices
from relevo.http.services import Services, Wired
from relevo.http.waiting import while_waited_for

router = APIRouter(prefix="/api/v1/imports", tags=["telemetry"])

_PROGRESS = "application/x-ndjson"
_NAMES_MOST = 200
_UNITS_MOST = 256
_CREATED_MOST = 10_000


class FaultOut(BaseModel):
    """Something that was not imported; ``line`` is a row's number where the file is a database."""

    line: int
    field: str
    reason: str
    detail: str


class ReportOut(BaseModel):
    """What became of a file. ``points`` are values that are new, ``repeated`` those that were stored already,
    ``unknown`` values by devices that are none here, ``faults`` the first of all that was ``refused``."""

    done: bool
    lines: int
    readings: int
    points: int
    repeated: int
    refused: int
    faults: list[FaultOut]
    created: list[str]
    unknown: dict[str, int]
    notes: list[str]


@router.post(
    "",
    response_model=ReportOut,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself, of any size.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def take(
    request: Request,
    wired: Wired,
    identity: ImportsDevices,
    format: Literal["csv", "jsonl", "columns", "thingsboard", "home-assistant"] = "csv",  # noqa: A002
    device: Annotated[str, Query(max_length=64, description="Whose readings these are, where no line says it.")] = "",
    create: Annotated[bool, Query(description="Register devices that are not there.")] = False,
    zone: Annotated[str, Query(max_length=64, description="Time zone of times that have none, else UTC.")] = "",
    delimiter: Annotated[str, Query(max_length=1, description="Between columns; found out when not given.")] = "",
    decimal: Annotated[str, Query(max_length=1, pattern="^[.,]$", description="Before decimals: . or ,")] = ".",
    time_column: Annotated[str, Query(max_length=256)] = "",
    time_format: Annotated[
        str, Query(max_length=64, description="iso, s, ms, us, ns, or a pattern of strptime; found out otherwise.")
    ] = "",
    device_column: Annotated[str, Query(max_length=256)] = "",
    names: Annotated[
        list[str],
        Query(max_length=_NAMES_MOST, description="FROM=KEY or FROM=DEVICE/KEY; * stands for any part of a name."),
    ] = [],  # noqa: B006 - FastAPI copies it
    statistics: Annotated[bool, Query(description="Of home-assistant: also what is older than its states.")] = True,
) -> Response:
    """Take a file into history. What is stored already is not stored again. With `Accept: application/x-ndjson` the
    answer is a report a line, as long as it takes after the file has come; the last has `done`."""
    if zone:
        check_zone(zone)
    if device:
        check_id(device, "device")
    known = [
        (one.id, one.registered_seq)
        for one in wired.registry.all()
        if wired.auth.people.right(identity, one) >= Right.CONTROL
    ]
    wanted = ImportWanted(
        format, known, wired.clock.now_ms(), "", device, create, zone, delimiter, decimal,
        time_column, time_format, device_column, dict(map(_pair, names)), statistics,
    )  # fmt: skip
    created: list[str] = []

    async def registered(name: str) -> bool:
        if len(created) >= _CREATED_MOST:
            return False
        try:
            await register(request, wired, identity, NewDevice(id=name), "")
        except (Conflict, Invalid):
            return False
        created.append(name)
        return True

    async with AsyncExitStack() as stack:
        under_way = await stack.enter_async_context(wired.imports.opened(wanted, registered))
        async for data in request.stream():
            if data:
                await under_way.take(data)
        if _PROGRESS in request.headers.get("accept", ""):
            lines = _lines(request, wired, identity, format, under_way, stack.pop_all())
            return StreamingResponse(lines, media_type=_PROGRESS)
        await while_waited_for(request, _finish(under_way))
        await _settle(request, wired, identity, format, under_way.report)
        return Response(msgspec.json.encode(_out(under_way)), media_type="application/json")
    raise AssertionError("an import swallows nothing")


async def _finish(under_way: Import) -> None:
    async for _ in under_way.finish():
        pass


async def _lines(
    request: Request, wired: Services, identity: Identity, source: str, under_way: Import, stack: AsyncExitStack
) -> AsyncIterator[bytes]:
    async with stack:
        try:
            async for _ in under_way.finish():
                if not under_way.done:
                    yield msgspec.json.encode(_out(under_way)) + b"\n"
            await _settle(request, wired, identity, source, under_way.report)
        except RelevoError as error:
            # The answer has begun: its last line says what went wrong.
            yield msgspec.json.encode(_out(under_way) | {"error": str(error)}) + b"\n"
            return
        yield msgspec.json.encode(_out(under_way)) + b"\n"


async def _settle(request: Request, wired: Services, identity: Identity, source: str, report: Report) -> None:
    """What is said once everything is in: units of devices that came with it, and who did it."""
    detail = {"format": source, "points": report.points, "devices": report.created[:100]}
    changes = []
    for name in report.created:
        units = dict(sorted(report.units.get(name, {}).items())[:_UNITS_MOST])
        device = wired.registry.get(name)
        if units and device is not None:
            attributes = device.attributes | {"units": units}
            changes.append(DeviceChanged(name, wired.clock.now_ms(), {"attributes": attributes}, identity.name))
    await wired.pipeline.accept([*changes, wired.audited(request, identity, "history.import", "", detail)])


def _out(under_way: Import) -> dict[str, Any]:
    report = under_way.report
    return {
        "done": under_way.done,
        "lines": report.lines,
        "readings": report.readings,
        "points": report.points,
        "repeated": report.repeated,
        "refused": report.refused,
        "faults": [
            {"line": one.line, "field": one.field, "reason": one.reason, "detail": one.detail} for one in report.faults
        ],
        "created": report.created,
        "unknown": report.unknown,
        "notes": report.notes,
    }


def _pair(text: str) -> tuple[str, str]:
    """``FROM=TO``; the first part may hold a ``=`` itself, a key should not."""
    name, mark, target = text.rpartition("=")
    if not mark or not name or not target:
        message = f"names: {text[:80]!r} is not FROM=KEY or FROM=DEVICE/KEY"
        raise Invalid("import_options", message, [FieldError("names", message, "import_options")])
    return name, target
