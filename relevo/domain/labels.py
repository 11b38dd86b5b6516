"""What stands in the QR code of a device's label, and what is read out of one.

Two forms: a URL of the interface's claim page with ``contract``, ``serial`` and ``code``, which any camera opens; and
the JSON of contract alchemy (section 6), which its phone app scans, with ``contract`` and ``code`` beside its own keys.
"""

import json
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from relevo.errors import FieldError, Invalid

Form: TypeAlias = Literal["url", "alchemy"]
CLAIM_PATH: Final = "/ui/claim"
SCANNED_LIMIT: Final = 2_048
_CONTRACT: Final = "alchemy"


class Label(NamedTuple):
    """What a label says. ``code`` is empty on one that identifies only."""

    contract: str
    serial: str
    code: str = ""
    name: str = ""
    type: str = ""


def content(label: Label, form: Form, server: str) -> str:
    """The text of the QR code; ``server`` is the address under which people reach the interface."""
    if form == "alchemy":
        body: dict[str, Any] = {"serial_number": label.serial, "serial": label.serial, "nombre": label.name}
        body |= {"tipo": label.type, "modelo": "", "descripcion": "", "configuracion": {}, "contract": label.contract}
        if label.code:
            body["code"] = label.code
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    fields = {"contract": label.contract, "serial": label.serial}
    if label.code:
        fields["code"] = label.code
    return f"{server.rstrip('/')}{CLAIM_PATH}?{urlencode(fields)}"


def scanned(text: str, field: str = "qr") -> Label:
    """What somebody scanned. Raises :class:`Invalid` naming ``field`` for what is neither form."""
    if len(text) > SCANNED_LIMIT:
        raise _unreadable(field, f"has {len(text)} characters, the limit is {SCANNED_LIMIT}")
    text = text.strip()
    return _from_json(text, field) if text.startswith("{") else _from_url(text, field)


def _from_url(text: str, field: str) -> Label:
    try:
        parts = urlsplit(text)
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError as error:
        raise _unreadable(field, f"is no address: {error}") from None
    if not parts.path.endswith(CLAIM_PATH):
        raise _unreadable(field, f"must be an address ending in {CLAIM_PATH}?contract=…&serial=…, or the alchemy JSON")
    if any(len(values) > 1 for values in query.values()):
        raise _unreadable(field, "names something twice")
    found = {name: values[0] for name, values in query.items()}
    if not found.get("code") and not (found.get("contract") and found.get("serial")):
        raise _unreadable(field, "must have contract and serial, or code")
    return Label(found.get("contract", ""), found.get("serial", ""), found.get("code", ""))


def _from_json(text: str, field: str) -> Label:
    try:
        body = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise _unreadable(field, f"is no JSON object: {error}") from None
    serial = body.get("serial_number") or body.get("serial") or ""
    found = {"contract": body.get("contract", _CONTRACT), "serial": serial, "code": body.get("code", "")}
    for name, value in found.items():
        if type(value) is not str:
            raise _unreadable(field, f"must have a text as {name}")
    if not serial:
        raise _unreadable(field, "must have serial_number, or its alias serial")
    told = {ours: body.get(theirs) for ours, theirs in (("name", "nombre"), ("type", "tipo"))}
    kept = {ours: value for ours, value in told.items() if type(value) is str}
    return Label(found["contract"], serial, found["code"], kept.get("name", "")[:128], kept.get("type", "")[:64])


def _unreadable(field: str, problem: str) -> Invalid:
    message = f"{field} {problem}"
    return Invalid("label_unreadable", message, [FieldError(field, message, "label_unreadable")])
