"""Server-sent events (WHATWG HTML, section 9.2): frames as bytes."""


def frame(data: bytes, event: str = "", id_: int = 0) -> bytes:
    """One event. ``data`` is JSON and has no line breaks; ``id_`` 0 leaves the reader's last id as it is."""
    head = f"id: {id_}\n" if id_ else ""
    if event:
        head += f"event: {event}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def comment(text: str = "") -> bytes:
    """A line that keeps proxies awake and readers undisturbed."""
    return f": {text}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """How long the reader waits before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()
