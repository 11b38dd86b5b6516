"""``/api/v1/devices/{id}/credentials``: keys, user names with passwords, and certificates of a device.

A secret is in the answer that makes it and nowhere else. The key that a device was created with is the credential
``key``; it can be rotated with a time of grace, so that a board learns the new one before the old one ends.
"""

import secrets
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.credentials import Credential
from relevo.domain.devices import Device
from relevo.domain.events import AnyEvent, DeviceChanged
from relevo.domain.grants import Right
from relevo.domain.passwords import LONGEST, check_password
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.devices import new_device_key
from relevo.http.api.names import taking_name
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.times import iso
from relevo.http.needs import Held, Owns, Viewer
from relevo.http.passwords import common_passwords
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1", tags=["credentials"])

FIRST_KEY: Final = "key"
GRACE_S: Final = 86_400
_GRACE_MOST_S: Final = 30 * 86_400
_OF_DEVICE_MOST: Final = 100
_USERNAME_MOST: Final = 128
_DAY_MS: Final = 86_400_000


class CredentialOut(BaseModel):
    """A credential without its secret. The first key is ``key``; when it was made is not known."""

    id: str
    device: str
    kind: str
    username: str | None
    label: str
    by: str | None
    created_at: str | None
    expires_at: str | None
    expired: bool
    fingerprint: str | None = Field(description="SHA-256 of a certificate, hexadecimal.")


class CredentialPage(BaseModel):
    items: list[CredentialOut]
    next: str | None


class KeyCreated(CredentialOut):
    """The only answer that ever holds the key."""

    key: str


class PasswordCreated(CredentialOut):
    """The only answer that ever holds a generated password; one that was chosen is not repeated."""

    password: str | None


class KeyRotated(CredentialOut):
    """The new first key, in this answer alone, and until when the old one is good as well."""

    key: str
    old_key_until: str | None


class NewKey(BaseModel):
    """``days`` until it ends by itself; absent: never."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(default="", max_length=128)
    days: int | None = Field(default=None, ge=1, le=3_650)


class NewPassword(NewKey):
    """An MQTT user name; without a ``password`` a long one is generated."""

    username: str = Field(min_length=1, max_length=_USERNAME_MOST)
    password: str | None = Field(default=None, max_length=LONGEST)


class Rotation(BaseModel):
    """For how many seconds the old key goes on working beside the new one; 0 ends it at once."""

    model_config = ConfigDict(extra="forbid")

    grace_s: int = Field(default=GRACE_S, ge=0, le=_GRACE_MOST_S, strict=True)


def _render(wired: Services, one: Credential) -> dict[str, Any]:
    return {
        "id": one.id,
        "device": one.device,
        "kind": one.kind,
        "username": one.username or None,
        "label": one.label,
        "by": one.by or None,
        "created_at": iso(one.created_at),
        "expires_at": iso(one.expires_at),
        "expired": not one.good_at(wired.clock.now_ms()),
        "fingerprint": one.secret_hash if one.kind == "certificate" else None,
    }


def _first(device: Device) -> list[Credential]:
    """The registry's own key as a credential, if the device has one."""
    return [Credential(FIRST_KEY, device.id, "key", device.key_hash, 0)] if device.key_hash else []


def new_credential(
    held: Held, kind: str, secret_hash: str, now_ms: int, label: str = "", expires_at: int = 0
) -> Credential:
    """A credential without a user name."""
    return Credential(
        secrets.token_hex(8),
        held.device.id,
        kind,
        secret_hash,
        now_ms,
        expires_at,
        label=label,
        by=held.identity.name,
    )


def check_room(wired: Services, device: Device) -> None:
    """Raises :class:`Conflict` when the device has as many credentials as it may."""
    if len(wired.keyring.of_device(device.id)) >= _OF_DEVICE_MOST:
        raise Conflict(f"a device has at most {_OF_DEVICE_MOST} credentials: revoke some of {device.id!r} first")


async def keep(
    request: Request, wired: Services, held: Held, one: Credential, response: Response, detail: dict[str, Any]
) -> dict[str, Any]:
    """Store a new credential. Raises :class:`NotFound` when its device was removed meanwhile."""
    more = detail | {"credential": one.id}
    await wired.pipeline.accept(
        [Kept(one), wired.audited(request, held.identity, "credential.create", one.device, more)]
    )
    if wired.registry.get(one.device) is None:
        await wired.pipeline.accept([Dropped(Credential, one.id)])
        raise NotFound(f"no device {one.device!r}")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Location"] = f"/api/v1/devices/{one.device}/credentials/{one.id}"
    return _render(wired, one)


def _ends(now_ms: int, days: int | None) -> int:
    return now_ms + days * _DAY_MS if days else 0


@router.get("/credentials", response_model=CredentialPage)
async def list_credentials(
    wired: Wired,
    identity: Viewer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
    kind: Annotated[str, Query(pattern="^(|key|password|certificate)$")] = "",
) -> dict[str, Any]:
    """Credentials of the devices that one owns, but for their first keys, ordered by id."""
    position = decode_cursor(cursor, 1)
    found: list[dict[str, Any]] = []
    for one in wired.keyring.all():
        if (position is not None and one.id <= position[0]) or (kind and one.kind != kind):
            continue
        if not wired.auth.may(identity, one.device, Right.OWN):
            continue
        if len(found) == limit:
            return {"items": found, "next": encode_cursor(found[-1]["id"])}
        found.append(_render(wired, one))
    return {"items": found, "next": None}


@router.get("/devices/{device_id}/credentials", response_model=CredentialPage)
async def device_credentials(wired: Wired, held: Owns) -> dict[str, Any]:
    """Everything this device can prove itself with, its first key first; secrets are never shown again."""
    known = [*_first(held.device), *wired.keyring.of_device(held.device.id)]
    return {"items": [_render(wired, one) for one in known], "next": None}


@router.post("/devices/{device_id}/credentials/keys", status_code=201, response_model=KeyCreated)
async def create_key(request: Request, wired: Wired, held: Owns, body: NewKey, response: Response) -> dict[str, Any]:
    """One more key: for MQTT with the device id as user name, and for HTTP."""
    check_room(wired, held.device)
    now = wired.clock.now_ms()
    key = new_device_key()
    one = new_credential(held, "key", wired.keyring.hash(key.encode()), now, body.label, _ends(now, body.days))
    return await keep(request, wired, held, one, response, {"kind": "key"}) | {"key": key}


@router.post("/devices/{device_id}/credentials/passwords", status_code=201, response_model=PasswordCreated)
async def create_password(
    request: Request, wired: Wired, held: Owns, body: NewPassword, response: Response
) -> dict[str, Any]:
    """An MQTT user name with a password of its own, for a board whose firmware asks for both."""
    check_room(wired, held.device)
    _check_username(body.username)
    with taking_name(wired, body.username, "username"):
        text: str | None = None
        if body.password is not None:
            about = (body.username, held.device.id)
            kept = await wired.auth.passwords.hash(check_password(body.password, common_passwords, about))
        else:
            text = new_device_key()
            kept = wired.keyring.hash(text.encode())
        now = wired.clock.now_ms()
        one = Credential(
            secrets.token_hex(8),
            held.device.id,
            "password",
            kept,
            now,
            _ends(now, body.days),
            body.username,
            body.label,
            held.identity.name,
        )
        answer = await keep(request, wired, held, one, response, {"kind": "password", "username": one.username})
    return answer | {"password": text}


def _check_username(username: str) -> None:
    """Raises :class:`Invalid` for what no client could send."""
    if not username.isprintable() or username != username.strip():
        reason, message = "username_invalid", "username must be printable, without spaces around it"
        raise Invalid(reason, message, [FieldError("username", message, reason)])


@router.post("/devices/{device_id}/credentials/key/rotate", response_model=KeyRotated)
async def rotate_key(
    request: Request, wired: Wired, held: Owns, response: Response, body: Rotation | None = None
) -> dict[str, Any]:
    """A new first key; the old one goes on working for ``grace_s`` seconds, and connections made with it stay."""
    grace_s = body.grace_s if body is not None else GRACE_S
    device, now = held.device, wired.clock.now_ms()
    key = new_device_key()
    keyed = wired.keyring.hash(key.encode())
    changes: list[AnyEvent | RecordChange] = [
        DeviceChanged(device.id, now, {"key_hash": keyed}, held.identity.name),
        wired.audited(request, held.identity, "credential.rotate", device.id, {"grace_s": grace_s}),
    ]
    until = now + grace_s * 1000 if grace_s and device.key_hash else 0
    if until:
        check_room(wired, device)
        changes.append(
            Kept(new_credential(held, "key", device.key_hash, now, "the key before the last rotation", until))
        )
    await wired.pipeline.accept(changes)
    after = wired.registry.get(device.id)
    if after is None or after.key_hash != keyed:
        raise Conflict("the key was rotated by somebody else at the same moment: only theirs is good")
    response.headers["Cache-Control"] = "no-store"
    return _render(wired, _first(after)[0]) | {"key": key, "old_key_until": iso(until)}


@router.delete("/devices/{device_id}/credentials/{credential_id}", status_code=204)
async def revoke_credential(request: Request, wired: Wired, held: Owns, credential_id: str) -> None:
    """Revoke a credential, ``key`` for the first one: connections made with it end at once, all others stay."""
    device, now = held.device, wired.clock.now_ms()
    change: AnyEvent | RecordChange
    if credential_id == FIRST_KEY and device.key_hash:
        change = DeviceChanged(device.id, now, {"key_hash": ""}, held.identity.name)
        kind = "key"
    else:
        one = wired.keyring.get(credential_id)
        if one is None or one.device != device.id:
            raise NotFound(f"no credential {credential_id!r} of device {device.id!r}")
        change, kind = Dropped(Credential, one.id), one.kind
    detail = {"credential": credential_id, "kind": kind}
    await wired.pipeline.accept([change, wired.audited(request, held.identity, "credential.revoke", device.id, detail)])
