"""``/api/v1/audit``: who did what to what, from where, when."""

import csv
import io
import json
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.responses import Response

from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.times import iso, parse_time
from relevo.http.needs import Administrator
from relevo.http.services import Wired
from relevo.store import audit

router = APIRouter(prefix="/api/v1", tags=["system"])

_COLUMNS = ("at", "by", "action", "target", "outcome", "address", "detail")
_EXPORT_MOST = 100_000
# A cell that begins like this is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Entry(BaseModel):
    """One thing that somebody did, or tried and was refused."""

    at: str
    by: str
    action: str
    target: str
    outcome: str
    address: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    items: list[Entry]
    next: str | None


def _render(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _COLUMNS} | {"at": iso(row["at"])}


class Filters(NamedTuple):
    """Which entries, for the list and the file alike; times in milliseconds UTC."""

    by: str
    action: str
    target: str
    start: int
    end: int | None


async def _filters(
    by: Annotated[str, Query(max_length=64, description="The account.")] = "",
    action: Annotated[
        str, Query(max_length=64, description="An action, or its beginning: `device` for all of them.")
    ] = "",
    target: Annotated[str, Query(max_length=128)] = "",
    start: Annotated[str | None, Query(alias="from", description="ISO 8601 or milliseconds.")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
) -> Filters:
    last = parse_time(end, "to", 0) if end is not None else None
    return Filters(by, action, target, parse_time(start, "from", 0), last)


Wanted = Annotated[Filters, Depends(_filters)]


@router.get("/audit", response_model=AuditPage)
async def list_audit(
    wired: Wired,
    identity: Administrator,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Newest first."""
    position = decode_numbers(cursor, 1)
    rows = await wired.readers.run_core(audit.load, limit, position[0] if position else None, *wanted)
    following = encode_cursor(rows[-1]["id"]) if len(rows) == limit else None
    return {"items": [_render(row) for row in rows], "next": following}


@router.get(
    "/audit/export",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}, "description": "The file"}},
)
async def export_audit(
    wired: Wired,
    identity: Administrator,
    wanted: Wanted,
    form: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
) -> Response:
    """The newest 100,000 entries that fit, as CSV or one JSON object a line."""
    rows = await wired.readers.run_core(audit.load, _EXPORT_MOST, None, *wanted)
    headers = {"Content-Disposition": f'attachment; filename="relevo-audit.{form}"'}
    if form == "jsonl":
        text = "".join(json.dumps(_render(row), ensure_ascii=False) + "\n" for row in rows)
        return Response(text, media_type="application/x-ndjson", headers=headers)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in rows:
        shown = _render(row) | {"detail": json.dumps(row["detail"], ensure_ascii=False)}
        writer.writerow([_cell(str(shown[name])) for name in _COLUMNS])
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
