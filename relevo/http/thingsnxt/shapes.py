"""What this contract's objects look like in answers, and whose they are."""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from relevo.domain.accounts import Account, Identity, Role
from relevo.domain.dashboards import SWITCH, Dashboard, Widget
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.errors import NotFound
from relevo.http.api.times import iso
from relevo.http.services import Services

CONTRACT: Final = "thingsnxt"
MASK: Final = "***"


def public_id(device: Device) -> str:
    """The 24 characters under which the app knows a device; one of another contract gets some of its own."""
    return device.external_id if device.contract == CONTRACT else _hashed("device", device.id)


def user_id(account: str) -> str:
    return _hashed("user", account)


@lru_cache(maxsize=65_536)
def _hashed(kind: str, name: str) -> str:
    return blake2b(f"{kind}\n{name}".encode(), digest_size=12).hexdigest()


def find_device(wired: Services, shown_id: str) -> Device | None:
    """The device that the app means by ``shown_id``."""
    found = wired.registry.find(CONTRACT, shown_id.lower())
    if found is not None:
        return found
    return next((one for one in wired.registry.all() if one.contract != CONTRACT and public_id(one) == shown_id), None)


def is_theirs(wired: Services, identity: Identity, device: Device) -> bool:
    """Whether the app of ``identity`` shows a device: their own, or shared with them; to administrators also nobody's.

    Administrators own everything elsewhere; here everybody sees what is theirs (section 5.2).
    """
    if identity.role is Role.ADMINISTRATOR:
        if not device.owner:
            return True
        plain = Identity(identity.name, Role.OPERATOR, identity.sign_in, identity.api_key, identity.scopes)
        return bool(wired.auth.people.right(plain, device))
    return bool(wired.auth.people.right(identity, device))


def device_for(wired: Services, identity: Identity, shown_id: str, right: Right) -> Device:
    """The device, when ``identity`` has at least ``right`` to it. Raises :class:`NotFound`, :class:`Forbidden`."""
    device = find_device(wired, shown_id)
    if device is None or not wired.auth.people.right(identity, device):
        raise NotFound("Device not found")
    return wired.auth.device_for(identity, device.id, right)


def user(account: Account) -> dict[str, Any]:
    return {
        "id": user_id(account.name),
        "_id": user_id(account.name),
        "email": account.email or None,
        "username": account.name,
        "full_name": account.full_name or None,
        "role": "admin" if account.rank is Role.ADMINISTRATOR else "user",
        "is_active": not account.disabled,
        "created_at": iso(account.created_at),
    }


def shown_device(wired: Services, one: Device, token: str = "") -> dict[str, Any]:
    """A device; ``token`` is shown, otherwise it is masked or, with ``legacy_show_tokens``, the one that is known."""
    shown = public_id(one)
    if not token and one.contract == CONTRACT and wired.settings.legacy_show_tokens:
        token = known_token(wired, one)
    return {
        "id": shown,
        "_id": shown,
        "user_id": user_id(one.owner) if one.owner else None,
        "name": one.name,
        "type": one.type,
        "status": "online" if wired.online(one) else "offline",
        "last_active": iso(wired.latest(one.id)[1]),
        "device_token": token or f"{MASK}{shown}",
    }


def known_token(wired: Services, one: Device) -> str:
    """The token in force when it was made here, otherwise empty."""
    token = wired.dashboards.token(one.id, one.external_id)
    fits = token and wired.keyring.fits(one, token.encode(), wired.clock.now_ms())
    return token if fits else ""


def values_of(wired: Services, one: Device) -> dict[str, Any]:
    """What is known of a device: of this contract telemetry holds its state, of others that stands beside it."""
    if one.contract == CONTRACT:
        return wired.twins.readings(one.id)[0]
    return wired.appearances.known(one)


def dashboard(one: Dashboard) -> dict[str, Any]:
    return {
        "id": one.id,
        "_id": one.id,
        "user_id": user_id(one.account),
        "name": one.name,
        "description": one.description,
        "created_at": iso(one.created_at),
    }


def widget(wired: Services, one: Widget, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """A widget with what its device is, or is to be; ``values`` are those where they are known already."""
    shown = wired.registry.get(one.device) if one.device else None
    value = one.value
    if shown is not None and one.key:
        if values is None:
            values = values_of(wired, shown)
        value = values.get(one.key, value)
    if one.type == SWITCH:
        value = int(value) if isinstance(value, bool) or value in (0, 1) else value or 0
    found: dict[str, Any] = msgspec.to_builtins(one)
    for name in ("dashboard", "account", "device", "position"):
        del found[name]
    return found | {
        "_id": one.id,
        "dashboard_id": one.dashboard,
        "device_id": public_id(shown) if shown is not None else None,
        "virtual_pin": one.config.get("virtual_pin"),
        "value": value,
        "created_at": iso(one.created_at),
    }


def notification(
    wired: Services,
    *,
    id: str,  # noqa: A002 - the column's name
    device: str,
    at: int,
    severity: str,
    source: str,
    title: str,
    text: str,
    read_at: int = 0,
    **_: Any,
) -> dict[str, Any]:
    """A notification of the inbox, or one that is just being raised."""
    about = wired.registry.get(device) if device else None
    return {
        "id": id,
        "_id": id,
        "title": title,
        "message": text,
        "type": severity,
        "source": source,
        "device_id": public_id(about) if about is not None else None,
        "read": bool(read_at),
        "created_at": iso(at),
    }


def for_devices(values: dict[str, Any]) -> dict[str, Any]:
    """What of a device's values leaves the server: keys that begin with ``_`` are the server's own."""
    return {key: value for key, value in values.items() if not key.startswith("_")}
