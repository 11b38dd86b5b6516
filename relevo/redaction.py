"""The one place where secrets are taken out of texts for people: log entries, refusals, error pages.

What is known to be secret by its name is replaced whole; in free text it is recognised by its shape: the query
parameters of the contracts, Authorization headers, our own keys and tokens.
"""

import re
from typing import Any, Final

MASK: Final = "[redacted]"

_NAMES: Final = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|secret|token|authorization|cookie|api_?key|key|ticket|pepper|credential)s?$"
)
# What has one of those names and is none: a reading's key, the number of keys.
_HARMLESS: Final = frozenset({"key", "keys"})
_SHAPES: Final = (
    # ?device_token=…&token=…, also inside JSON and forms
    re.compile(r"(?i)((?:[a-z_]*token|ticket|password|passwd|secret|api_?key)[\"']?\s*[=:]\s*[\"']?)([^\s\"'&,;}]+)"),
    re.compile(r"(?i)((?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{6,})"),
    re.compile(r"()(relevo_[0-9a-f]{12}_[A-Za-z0-9_-]{20,})"),
    re.compile(r"()(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"),
    re.compile(r"(://[^/\s:@]*:)([^@\s/]+)(?=@)"),
    re.compile(r"()(wall_[A-Za-z0-9_-]{16,})"),
    re.compile(r"(/ui/enter/)([A-Za-z0-9_-]+)"),
    re.compile(r"()(-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))"),
)


def redact(text: str) -> str:
    """``text`` with every secret of a known shape replaced."""
    for shape in _SHAPES:
        text = shape.sub(rf"\1{MASK}", text)
    return text


def redact_value(name: str, value: Any) -> Any:
    """A named value as it may be shown, inside dictionaries and lists as well."""
    if _NAMES.search(name) and name not in _HARMLESS and isinstance(value, str | bytes) and value:
        return MASK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode(errors="replace"))
    if isinstance(value, dict):
        return {key: redact_value(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(name, one) for one in value]
    return value
