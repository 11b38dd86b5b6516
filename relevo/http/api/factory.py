"""``/api/v1/factory``: registering what a factory made, with keys and claim codes, before anybody owns it."""

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from relevo.domain.accounts import Identity
from relevo.domain.claims import ClaimCode
from relevo.domain.events import DeviceRegistered
from relevo.domain.factory import Row, read
from relevo.domain.records import Dropped, Kept
from relevo.errors import FieldError, Invalid
from relevo.http.api.claims import fresh_code
from relevo.http.api.devices import new_device_key
from relevo.http.api.taking import normalised
from relevo.http.needs import Administrator
from relevo.http.services import Services, Wired
from relevo.wire.strict_json import loads_object

router = APIRouter(prefix="/api/v1", tags=["joining"])

BYTES_MOST = 1_048_576
# One transaction of this many devices holds acknowledgements of readings no longer than a slow disk does.
_AT_ONCE = 200
_ANSWER = ("row", "outcome", "contract", "serial", "device", "key", "code", "field", "message")
# A cell that begins like this is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def _text(request: Request) -> str:
    body = await request.body()
    if len(body) > BYTES_MOST:
        message = f"the list has {len(body)} bytes, the limit is {BYTES_MOST}"
        raise Invalid("body_too_large", message, [FieldError("body", message, "body_too_large")])
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        found = loads_object(body).get("csv")
        if type(found) is not str:
            message = "csv must be a text"
            raise Invalid("value_type", message, [FieldError("csv", message, "value_type")])
        return found
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = f"the list is not UTF-8 at byte {error.start}"
        raise Invalid("utf8_invalid", message, [FieldError("body", message, "utf8_invalid")]) from None


def _key() -> str:
    """A key that a spreadsheet leaves as it is."""
    while True:
        key = new_device_key()
        if key[0].isalnum():
            return key


def _check(wired: Services, row: Row, hashes: set[str]) -> str:
    """The hash of the row's key, made up when it has none; problems go into the row."""
    if wired.registry.find(row.contract, row.serial) is not None:
        row.refuse("serial", f"{row.serial!r} of contract {row.contract} is registered already", "registered")
    if wired.claims.standing(row.contract, row.serial) == "blocked":
        row.refuse("serial", f"{row.serial!r} is blocked: restore it in the list of unclaimed devices", "blocked")
    kept = wired.keyring.hash(row.key.encode())
    if wired.registry.by_key(kept) or kept in hashes:
        row.refuse("key", "is another device's already", "repeated")
    hashes.add(kept)
    return kept


async def _make(wired: Services, identity: Identity, rows: list[Row], taken: set[str]) -> list[dict[str, Any]]:
    """Register up to ``_AT_ONCE`` rows in one commit; what became of each."""
    entries: list[Any] = []
    made: list[tuple[Row, dict[str, Any], int, ClaimCode]] = []
    out: list[dict[str, Any]] = []
    ids: set[str] = set()
    for row in rows:
        answer: dict[str, Any] = {
            "row": row.number,
            "outcome": "refused",
            "contract": row.contract,
            "serial": row.serial,
        }
        out.append(answer)
        generated = ""
        if not row.problems and not row.key:
            generated = row.key = _key()
        kept = _check(wired, row, taken) if not row.problems else ""
        if row.problems:
            answer["errors"] = [
                {"field": one.field, "message": one.message, "reason": one.reason} for one in row.problems
            ]
            continue
        device = wired.registry.free_id(row.contract, row.serial)
        n = 2
        while device in ids:
            # Two serials of one list that differ only in what an id cannot hold.
            device = wired.registry.free_id("native", f"{wired.registry.free_id(row.contract, row.serial)[:56]}-{n}")
            n += 1
        ids.add(device)
        code, text = fresh_code(wired, row.contract, row.serial, identity.name, None)
        answer |= {"device": device, "code": text} | ({"key": generated} if generated else {})
        made.append((row, answer, len(entries), code))
        entries += [
            DeviceRegistered(
                device,
                row.contract,
                row.serial,
                row.name or row.serial,
                row.type or "device",
                wired.clock.now_ms(),
                kept,
                f"factory list of {identity.name}",
                row.tags,
                site=row.site,
            ),
            Kept(code),
        ]
    if not entries:
        return out
    outcome = await wired.pipeline.accept(entries, 30.0)
    gone: list[Any] = []
    for row, answer, position, code in made:
        if position not in outcome.lost:
            answer["outcome"] = "created"
            continue
        for name in ("device", "code", "key"):
            answer.pop(name, None)
        message = f"serial {row.serial!r} was registered just now by somebody else"
        answer["errors"] = [{"field": "serial", "message": message, "reason": "registered"}]
        gone.append(Dropped(ClaimCode, code.id))
    if gone:
        await wired.pipeline.accept(gone)
    return out


@router.post(
    "/factory",
    response_class=Response,
    responses={
        200: {
            "description": "What became of each row",
            "content": {"application/json": {"schema": {"type": "object"}}, "text/csv": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {
                    "schema": {"type": "object", "properties": {"csv": {"type": "string"}}, "required": ["csv"]}
                },
            },
        }
    },
)
async def import_list(
    request: Request,
    wired: Wired,
    identity: Administrator,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """Register the devices of a CSV list as nobody's, each with a key and a claim code that this answer alone holds.

    The first row names the columns, `contract,serial,key,name,type,site,tags`; an empty key is made up, tags are
    separated by `;`. At most 5,000 rows and 1 MiB. A bad row is refused with its field and limit and loses nothing
    else.
    """
    rows = read(await _text(request), lambda contract, serial: normalised(wired, contract, serial))
    wired.claims.room(wired.clock.now_ms(), len(rows))
    taken: set[str] = set()
    answers: list[dict[str, Any]] = []
    for start in range(0, len(rows), _AT_ONCE):
        answers += await _make(wired, identity, rows[start : start + _AT_ONCE], taken)
    created = sum(one["outcome"] == "created" for one in answers)
    detail = {"created": created, "refused": len(answers) - created}
    await wired.pipeline.accept([wired.audited(request, identity, "factory.import", "", detail)])
    headers = {"Cache-Control": "no-store"}
    if form == "json":
        return JSONResponse(detail | {"rows": answers}, headers=headers)
    headers["Content-Disposition"] = 'attachment; filename="relevo-factory.csv"'
    return Response(_as_csv(answers), media_type="text/csv; charset=utf-8", headers=headers)


def _as_csv(answers: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_ANSWER)
    for one in answers:
        first = (one.get("errors") or [{}])[0]
        cells = [str(first.get(name, "") if name in ("field", "message") else one.get(name, "")) for name in _ANSWER]
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()
