"""How things look to clients of contract autocore, and how they name them."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relevo.dialects.autocore import ATTRIBUTES
from relevo.domain.accounts import Identity
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.errors import FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.times import iso
from relevo.http.services import Services

CONTRACT: Final = "autocore"
ANSWER_BYTES: Final = 1_023
"""The firmware in C reads an answer into 1024 bytes."""
ACTIVE: Final = "is_active"
LOCATION: Final = "location"
CONFIGURATION: Final = "configuration"
CHANGED: Final = "changed_at"
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_MAC: Final = re.compile(r"[0-9a-f]{12}")


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def is_active(device: Device) -> bool:
    """False for one that was deleted over this contract, which keeps its past."""
    return device.attributes.get(ACTIVE) is not False


def plain_mac(text: Any) -> str:
    """Twelve lower-case digits; anything else as it is, so that two equal oddities are still equal."""
    if type(text) is not str:
        return ""
    plain = re.sub(r"[^0-9a-f]", "", text.lower())
    return plain if _MAC.fullmatch(plain) else text.strip().lower()


def render(wired: Services, device: Device, whole: bool) -> dict[str, Any]:
    """The device object, all keys present (section 3.1); without ``whole`` where it is and how it is set stay out."""
    _, last_seen = wired.latest(device.id)
    kept = {name: device.attributes.get(name) for name in ATTRIBUTES}
    capabilities = kept["capabilities"]
    own = device.attributes.get(CONFIGURATION)
    configuration = {"relay_channels": kept["relay_channels"]} if kept["relay_channels"] else {}
    configuration |= own if isinstance(own, dict) else {}
    changed = device.attributes.get(CHANGED)
    place = device.attributes.get(LOCATION) or device.site or None
    return {
        "id": device.registered_seq,
        "uuid": device.external_id,
        "name": device.name,
        "type": device.type,
        "mac_address": kept["mac_address"] if whole else None,
        "ip_address": kept["ip_address"] if whole else None,
        "firmware_version": kept["firmware_version"],
        "hardware_version": kept["hardware_version"],
        "status": "online" if wired.online(device) else "offline",
        "last_seen": iso(last_seen),
        "location": place if whole else None,
        "configuration_json": to_json(configuration).decode() if whole and configuration else None,
        "capabilities_json": to_json(capabilities).decode() if capabilities else None,
        "is_active": is_active(device),
        "created_at": iso(device.registered_at),
        "updated_at": iso(changed if isinstance(changed, int) else device.registered_at),
    }


def to_board(body: dict[str, Any], status: int = 200, more: dict[str, Any] | None = None) -> Response:
    """One body below 1024 bytes: what does not fit is left out, the least needed first."""
    body = body | (more or {})
    for name in ("configuration_json", "capabilities_json", "hardware_version", "location", "name", "type"):
        over = len(to_json(body)) - ANSWER_BYTES
        if over <= 0:
            break
        if name in ("name", "type"):
            data = str(body[name]).encode(errors="replace")
            body[name] = data[: max(8, len(data) - 2 * over)].decode(errors="ignore")
        else:
            body[name] = None
    return Response(to_json(body), status, {"Cache-Control": "no-store"}, "application/json")


def answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status, {"Cache-Control": "no-store"})


def boards(wired: Services, identity: Identity) -> list[Device]:
    """Those that somebody may know of, in the order in which they were registered."""
    return [one for one in wired.registry.of_contract(CONTRACT) if wired.auth.people.right(identity, one)]


def named(wired: Services, text: str) -> Device | None:
    """The device with this ``id`` or uuid."""
    if _NUMBER.fullmatch(text):
        device = wired.registry.numbered(int(text))
        if device is not None and device.contract == CONTRACT:
            return device
    return wired.registry.find(CONTRACT, text)


def find(wired: Services, request: Request, identity: Identity, text: str, right: Right = Right.VIEW) -> Device:
    """As :func:`named`. Raises :class:`NotFound`, also for what somebody may not know of, and :class:`Forbidden`."""
    device = named(wired, text)
    held = wired.auth.people.right(identity, device) if device is not None else Right.NONE
    if device is None or not held:
        raise NotFound("Device not found")
    if held < right:
        wired.refuse_person(request, identity, device.id, f"{request.method} needs the right to {right.name}")
        raise Forbidden(f"Needs the right to {right.name.lower()} this device")
    return device


def limit_of(request: Request, default: int, most: int) -> int:
    """``?limit=``. Raises :class:`Invalid`."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= most or len(text) > 9:
        raise wrong("query.limit", f"must be a whole number from 1 to {most}")
    return int(text)


def wrong(field: str, words: str, reason: str = "value_error") -> Invalid:
    return Invalid(reason, f"{field} {words}", [FieldError(field, f"{field} {words}", reason)])


class Reader:
    """Reads the known fields of a body; what else it holds is passed over. :meth:`done` raises what is wrong."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._wrong: list[FieldError] = []
        self.found: dict[str, Any] = {}

    def text(self, name: str, most: int, *, empty: bool = False, into: str = "") -> None:
        value = self._value(name)
        if value is None:
            return
        if type(value) is not str or len(value) > most or not value.isprintable() or not (empty or value.strip()):
            self._refuse(name, f"must be {0 if empty else 1} to {most} printable characters")
        else:
            self.found[into or name] = value

    def number(self, name: str, least: int, most: int, into: str = "") -> None:
        value = self._value(name)
        if value is None:
            return
        if type(value) is not int or not least <= value <= most:
            self._refuse(name, f"must be a whole number from {least} to {most}")
        else:
            self.found[into or name] = value

    def flag(self, name: str, into: str = "") -> None:
        value = self._value(name)
        if value is None:
            return
        if type(value) is not bool:
            self._refuse(name, "must be true or false")
        else:
            self.found[into or name] = value

    def one_of(self, name: str, words: Iterable[str], into: str = "") -> None:
        value = self._value(name)
        if value is None:
            return
        if type(value) is not str or value not in words:
            self._refuse(name, f"must be one of {', '.join(words)}")
        else:
            self.found[into or name] = value

    def document(self, name: str, kinds: tuple[type, ...], most: int) -> None:
        value = self._value(name)
        if value is None:
            return
        if type(value) not in kinds or len(to_json(value)) > most:
            self._refuse(name, f"must be an object of at most {most} bytes")
        else:
            self.found[name] = value

    def need(self, *names: str) -> None:
        for name in names:
            if self._value(name) is None:
                self._wrong.append(FieldError(name, f"{name} is missing", "missing"))

    def done(self) -> dict[str, Any]:
        if self._wrong:
            raise Invalid("body_invalid", self._wrong[0].message, self._wrong)
        return self.found

    def _value(self, name: str) -> Any:
        return self._body.get(name)

    def _refuse(self, name: str, words: str) -> None:
        self._wrong.append(FieldError(name, f"{name} {words}", "value_error"))
