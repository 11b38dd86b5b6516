"""Server-sent events (WHATWG HTML, section 9.2): frames as bytes, and what answers and loops of streams share."""

from typing import Final

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Nobody in between keeps or gathers what is to be seen at once."""
LOOK_S: Final = 5.0
"""A stream looks at least so often whether its reader may still have it, seconds."""
_AWAKE_EVERY: Final = 3


def frame(data: bytes, event: str = "", id_: int = 0) -> bytes:
    """One event. ``data`` is JSON and has no line breaks; ``id_`` 0 leaves the reader's last id as it is."""
    head = f"id: {id_}\n" if id_ else ""
    if event:
        head += f"event: {event}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def comment(text: str = "") -> bytes:
    """A line that keeps proxies awake and readers undisturbed."""
    return f": {text}\n\n".encode()


def awake(silent: int) -> bytes:
    """What a stream says after ``silent`` looks in all at which there was nothing to say: mostly nothing."""
    return comment("awake") if silent % _AWAKE_EVERY == 0 else b""


def retry(milliseconds: int) -> bytes:
    """How long the reader waits before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()
