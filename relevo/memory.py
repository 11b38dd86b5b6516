"""Memory that was needed only to start goes back to the system."""

import contextlib


def give_back() -> None:
    """Return what the C library keeps of freed memory, once; nothing happens where it cannot (musl, macOS).

    Loading modules leaves holes of megabytes, most when they had to be compiled, and the library gives back by itself
    only what lies above the last piece in use.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
