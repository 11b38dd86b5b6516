"""Times in requests and answers of the native API."""

from datetime import UTC, datetime

from relevo.errors import FieldError, Invalid

# 2100-01-01; far enough for a query, near enough for every calendar function.
_LATEST_MS = 4_102_444_800_000


def iso(ms: int | None) -> str | None:
    """ISO 8601 with Z and milliseconds; ``None`` and 0 are never."""
    if not ms:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str | None, field: str, default: int) -> int:
    """Milliseconds UTC from integer milliseconds or ISO 8601 text. Raises :class:`Invalid`."""
    if text is None or text == "":
        return default
    try:
        if text.lstrip("-").isdigit():
            ms = int(text) if len(text) < 20 else -1
        else:
            when = datetime.fromisoformat(text.replace(" ", "+"))
            ms = round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        ms = -1
    if not 0 <= ms <= _LATEST_MS:
        message = f"{field} must be milliseconds since 1970 or ISO 8601, at most 2100"
        raise Invalid("time_invalid", message, [FieldError(field, message)])
    return ms
