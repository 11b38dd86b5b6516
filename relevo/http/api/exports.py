"""``/api/v1/devices/{id}/telemetry.csv`` and ``/api/v1/exports``: history of any size as a file (docs/export.md).

The file is made by a process while it is sent. One that ends early has no end of its chunked encoding.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.responses import StreamingResponse

from relevo.domain.accounts import Role
from relevo.domain.bulk import DEVICES_MOST, Selection
from relevo.domain.devices import Device
from relevo.domain.zones import check_zone
from relevo.errors import FieldError, Invalid, NotFound
from relevo.exchange.files import can_write_parquet
from relevo.exchange.protocol import FORMATS, MEDIA, ExportWanted
from relevo.http.api.times import parse_time
from relevo.http.needs import MayViewOrIsDevice, OfDevices
from relevo.http.services import Services, Wired
from relevo.http.waiting import while_waited_for

router = APIRouter(prefix="/api/v1", tags=["telemetry"])

Format = Literal["csv", "jsonl", "parquet"]
Form = Literal["wide", "long"]
Times = Literal["iso", "ms"]
_DAY_MS = 86_400_000
_KEYS_MOST = 4_096
# An address has little room; a body has more.
_IN_QUERY_MOST = 100
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, made while it is sent. `X-Relevo-Export` names it, `X-Relevo-Expected` is about how "
        "many values it will have.",
        "content": {
            media.split(";")[0]: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA.values()
        },
    }
}


class ExportIn(BaseModel):
    """Which history, of what fits everything given; without a selection of every device that one may view."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    devices: list[str] = Field(default=[], max_length=DEVICES_MOST)
    tags: list[str] = Field(default=[], max_length=32)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)
    keys: list[str] = Field(default=[], max_length=_KEYS_MOST)
    begin: StrictStr | StrictInt | None = Field(default=None, alias="from", description="Milliseconds UTC or ISO 8601.")
    end: StrictStr | StrictInt | None = Field(
        default=None, alias="to", description="Before that; milliseconds UTC or ISO 8601."
    )
    format: Format = "csv"
    form: Form = Field(default="wide", description="Of CSV: a column for each key, or a row for each value.")
    times: Times = Field(default="iso", description="Of CSV: ISO 8601, or milliseconds UTC.")
    zone: str = Field(default="", max_length=64, description="Of CSV: an IANA time zone for its times, else UTC.")
    bom: StrictBool = Field(default=False, description="Of CSV: begin with a byte order mark, for Excel.")


class ExportOut(BaseModel):
    """How far an export is: values made, of about how many."""

    id: str
    points: int
    expected: int
    running: bool


@router.get("/devices/{device_id}/telemetry.{suffix}", response_class=StreamingResponse, responses=_FILE)
async def of_one(
    request: Request,
    wired: Wired,
    device: MayViewOrIsDevice,
    suffix: Annotated[str, Path(pattern=f"^({'|'.join(FORMATS)})$")],
    keys: Annotated[list[str], Query(max_length=_IN_QUERY_MOST)] = [],  # noqa: B006 - FastAPI copies it
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    form: Form = "wide",
    times: Times = "iso",
    zone: Annotated[str, Query(max_length=64)] = "",
    bom: bool = False,
) -> StreamingResponse:
    """The history of one device as a file; `keys` may be repeated or separated by commas."""
    wanted = _wanted(wired, [device], _split(keys), start, end, suffix, form, times, zone, bom)
    return await _answer(request, wired, wanted, device.id, device.id)


@router.get("/exports", response_class=StreamingResponse, responses=_FILE)
async def by_query(
    request: Request,
    wired: Wired,
    identity: OfDevices,
    devices: Annotated[list[str], Query(max_length=_IN_QUERY_MOST)] = [],  # noqa: B006
    tags: Annotated[list[str], Query(max_length=32)] = [],  # noqa: B006
    type: Annotated[str, Query(max_length=64)] = "",  # noqa: A002
    site: Annotated[str, Query(max_length=64)] = "",
    keys: Annotated[list[str], Query(max_length=_IN_QUERY_MOST)] = [],  # noqa: B006
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    format: Format = "csv",  # noqa: A002
    form: Form = "wide",
    times: Times = "iso",
    zone: Annotated[str, Query(max_length=64)] = "",
    bom: bool = False,
) -> StreamingResponse:
    """The history of many devices as a file; lists may be repeated or separated by commas."""
    selection = Selection(tuple(_split(devices)), tuple(_split(tags)), type, site)
    chosen = _chosen(wired, identity, selection)
    wanted = _wanted(wired, chosen, _split(keys), start, end, format, form, times, zone, bom)
    return await _answer(request, wired, wanted, identity.name, "")


@router.post("/exports", response_class=StreamingResponse, responses=_FILE)
async def by_body(request: Request, wired: Wired, identity: OfDevices, body: ExportIn) -> StreamingResponse:
    """The same, asked for with a body."""
    selection = Selection(tuple(body.devices), tuple(body.tags), body.type, body.site)
    chosen = _chosen(wired, identity, selection)
    begin, end = (None if one is None else str(one) for one in (body.begin, body.end))
    wanted = _wanted(wired, chosen, body.keys, begin, end, body.format, body.form, body.times, body.zone, body.bom)
    return await _answer(request, wired, wanted, identity.name, "")


@router.get("/exports/{export_id}", response_model=ExportOut)
async def progress(wired: Wired, identity: OfDevices, export_id: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
    """How far an export of one's own is; none that is over is known."""
    for one in wired.exports.running:
        if one.id == export_id and (one.by == identity.name or identity.role is Role.ADMINISTRATOR):
            return {"id": one.id, "points": one.points, "expected": one.expected, "running": True}
    raise NotFound(f"no export {export_id!r} is running")


def _split(texts: list[str]) -> list[str]:
    return [part for text in texts for part in text.split(",") if part]


def _chosen(wired: Services, identity: OfDevices, selection: Selection) -> list[Device]:
    """The devices that are meant and that one may view. Raises :class:`Invalid` for one that is named and is none."""
    found = [
        device
        for device in wired.registry.all()
        if selection.fits(device) and wired.auth.people.right(identity, device)
    ]
    missing = sorted(set(selection.devices) - {device.id for device in found})
    if missing:
        message = f"devices names {missing[0]!r}, which is none that fits and that you may view"
        raise Invalid("selection_invalid", message, [FieldError("devices", message, "selection_invalid")])
    return found


def _wanted(
    wired: Services,
    devices: list[Device],
    keys: list[str],
    start: str | None,
    end: str | None,
    format: str,  # noqa: A002
    form: str,
    times: str,
    zone: str,
    bom: bool,
) -> ExportWanted:
    if zone:
        check_zone(zone)
    if format == "parquet" and not can_write_parquet():
        message = "format parquet needs a library that is not installed here: pip install 'relevo[parquet]'"
        raise Invalid("format_missing", message, [FieldError("format", message, "format_missing")])
    first = parse_time(start, "from", 0)
    # Devices may run ahead by a day before their clock is repaired.
    last = parse_time(end, "to", wired.clock.now_ms() + 2 * _DAY_MS)
    named = [(device.id, device.registered_seq) for device in devices]
    return ExportWanted(named, keys, first, last, format, form, times, zone, bom)


async def _answer(request: Request, wired: Services, wanted: ExportWanted, by: str, name: str) -> StreamingResponse:
    export = await while_waited_for(request, wired.exports.begin(wanted, by))
    file = f"{(name or 'relevo').replace(':', '-')}-telemetry.{wanted.format}"
    headers = {
        "Content-Disposition": f'attachment; filename="{file}"',
        "Cache-Control": "no-store",
        "X-Relevo-Export": export.id,
        "X-Relevo-Expected": str(export.expected),
    }
    return StreamingResponse(export.parts(), media_type=MEDIA[wanted.format], headers=headers)
