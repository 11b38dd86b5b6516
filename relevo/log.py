"""The log: structured entries on standard error, as text or JSON."""

import logging
import sys
from typing import Any

# structlog imports rich for coloured tracebacks as soon as it finds it: 5 MB and 60 ms that a server never uses.
_hide_rich = "rich" not in sys.modules
if _hide_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

from relevo.redaction import redact, redact_value  # noqa: E402

if _hide_rich:
    del sys.modules["rich"]


def get_logger(name: str) -> Any:
    """A logger: ``log.info("event_name", key=value)``."""
    return structlog.get_logger(room=name)


about = structlog.contextvars.bound_contextvars
"""``with about(request="…"):`` adds pairs to every entry inside."""


def redacted(_: Any, __: str, entry: Any) -> Any:
    """Processor: no secret reaches the log, whoever wrote it there."""
    return {name: redact_value(name, value) for name, value in entry.items()}


class _Redacting(logging.Filter):
    """The same for entries of libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def set_up(level: str, form: str) -> None:
    """Log entries of at least ``level`` (debug, info, warning, error) as ``form`` (text or json)."""
    least = getattr(logging, level.upper())
    logging.basicConfig(level=max(least, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Redacting())
    json = form == "json"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            redacted,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            _redacted_trace,
            structlog.processors.JSONRenderer() if json else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _redacted_trace(_: Any, __: str, entry: Any) -> Any:
    if "exception" in entry:
        entry["exception"] = redact(entry["exception"])
    return entry


def _as_text(_: Any, __: str, entry: Any) -> str:
    when, level, event = entry.pop("timestamp"), entry.pop("level"), entry.pop("event")
    entry.pop("room", None)
    trace = entry.pop("exception", "")
    pairs = " ".join(f"{name}={value}" for name, value in entry.items())
    return f"{when} {level:7} {event} {pairs}".rstrip() + (f"\n{trace}" if trace else "")
