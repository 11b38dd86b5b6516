"""Webhooks: which events go where, and in what words. Pure.

Secrets are made from the server's own key, the webhook's id and a ``salt``: none of them stands in the database.
"""

import base64
import hashlib
import hmac
import json
import re
from typing import Any, Final, NamedTuple

import msgspec

from relevo.domain.devices import Device
from relevo.errors import FieldError, Invalid

STANDARD: Final = "standard"
THINGSNXT: Final = "thingsnxt"
FORMATS: Final = (STANDARD, THINGSNXT)
ROTATION_MS: Final = 86_400_000

NAME_LIMIT: Final = 64
URL_LIMIT: Final = 2_048
NAMED_MOST: Final = 256
HEADERS_MOST: Final = 16
HEADER_LIMIT: Final = 1_024
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
# Ours, those between two machines (RFC 9110, section 7.6.1), and those by which a request speaks for somebody.
_RESERVED: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-webhook-signature",
    }
)
_RESERVED_BEGINNINGS: Final = ("webhook-", "proxy-", "sec-")


class Webhook(msgspec.Struct, frozen=True):
    """One webhook; times in milliseconds UTC, 0 is never.

    ``kinds`` are those of the live stream; none of them leaves what rules address to it. ``devices``, ``types`` and
    ``tags`` narrow it, each by any of what it lists; it never gets more than ``owner`` may view. ``former_salt`` signs
    beside ``salt`` until ``former_until``.
    """

    id: str
    name: str
    url: str
    owner: str
    by: str
    salt: str
    created_at: int
    kinds: list[str] = []
    devices: list[str] = []
    types: list[str] = []
    tags: list[str] = []
    format: str = STANDARD
    headers: dict[str, str] = {}
    enabled: bool = True
    disabled_reason: str = ""
    allow_private: bool = False
    former_salt: str = ""
    former_until: int = 0

    @property
    def narrowed(self) -> bool:
        return bool(self.devices or self.types or self.tags)

    def fits(self, device: Device | None) -> bool:
        """Whether events of ``device`` are within its scope; ``None`` for what belongs to no device."""
        if device is None:
            return not self.narrowed
        return (
            (not self.devices or device.id in self.devices)
            and (not self.types or device.type in self.types)
            and (not self.tags or any(tag in device.tags for tag in self.tags))
        )


class Message(NamedTuple):
    """What is sent: the type of the event, its time (ISO 8601) and its object as the live stream shows it."""

    kind: str
    device: str
    timestamp: str
    data: dict[str, Any]


def check_webhook(webhook: Webhook, kinds: frozenset[str]) -> None:
    """That it keeps every limit; ``kinds`` are those there are. Raises :class:`Invalid` naming field and limit."""
    wrong: list[FieldError] = []

    def refuse(field: str, message: str) -> None:
        wrong.append(FieldError(field, message, "webhook_invalid"))

    if not 0 < len(webhook.name) <= NAME_LIMIT or not webhook.name.isprintable():
        refuse("name", f"must be 1 to {NAME_LIMIT} printable characters")
    unknown = sorted(set(webhook.kinds) - kinds)
    if unknown:
        refuse("kinds", f"{unknown[0][:32]!r} is none of {', '.join(sorted(kinds))}")
    for field in ("devices", "types", "tags"):
        if len(getattr(webhook, field)) > NAMED_MOST:
            refuse(field, f"names {len(getattr(webhook, field))}, the limit is {NAMED_MOST}")
    if webhook.format not in FORMATS:
        refuse("format", f"must be one of {', '.join(FORMATS)}")
    if len(webhook.headers) > HEADERS_MOST:
        refuse("headers", f"has {len(webhook.headers)} entries, the limit is {HEADERS_MOST}")
    for name, value in webhook.headers.items():
        problem = header_problem(name, value)
        if problem:
            refuse("headers", f"{name[:64]!r} {problem}")
    lowered = [name.lower() for name in webhook.headers]
    if len(set(lowered)) < len(lowered):
        refuse("headers", "names one header twice")
    if wrong:
        raise Invalid("webhook_invalid", f"{wrong[0].field}: {wrong[0].message}", wrong)


def header_problem(name: str, value: str) -> str:
    """Why this header may not be sent along; empty when it may."""
    if not _HEADER_NAME.fullmatch(name):
        return "is no name of a header (1 to 64 characters of RFC 9110, section 5.6.2)"
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_BEGINNINGS):
        return "may not be set: it is the server's own, belongs to the connection or speaks for somebody"
    if len(value) > HEADER_LIMIT:
        return f"has a value of {len(value)} characters, the limit is {HEADER_LIMIT}"
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        return "has a value with other than printable ASCII characters, or with spaces around it"
    return ""


def secret_of(key: bytes, webhook: str, salt: str) -> str:
    """The signing secret in the form of Standard Webhooks: ``whsec_`` and 32 bytes in Base64."""
    raw = hmac.digest(key, f"webhook\n{webhook}\n{salt}".encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(raw).decode()}"


def salts_of(webhook: Webhook, now: int) -> list[str]:
    """Those that sign now, the newest first."""
    return [webhook.salt, webhook.former_salt] if webhook.former_salt and now < webhook.former_until else [webhook.salt]


def hexadecimal_signature(secret: str, body: bytes) -> str:
    """``X-Webhook-Signature`` of the thingsnxt contract (section 4): keyed with the secret as it is written."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def message_id(webhook: str, seq: int) -> str:
    """``webhook-id``: the same in every attempt, also after a restart."""
    return f"msg_{webhook}_{seq}"


def body_of(message: Message, form: str) -> str:
    """The body in the words of ``form``; both are JSON."""
    if form == THINGSNXT:
        return _json(_thingsnxt(message))
    return _json({"type": message.kind, "timestamp": message.timestamp, "data": message.data})


def _thingsnxt(message: Message) -> dict[str, Any]:
    """As on the contract's WebSocket (section 5.1)."""
    out: dict[str, Any] = {"type": message.kind, "device_id": message.device, "timestamp": message.timestamp}
    if message.kind == "telemetry":
        return out | {"type": "telemetry_update", "data": message.data["values"]}
    if message.kind == "presence":
        return out | {"type": "status_update", "status": "online" if message.data["online"] else "offline"}
    return out | {"data": message.data}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
