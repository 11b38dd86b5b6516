"""How simulated devices write JSON."""

import json


def compact(document: object) -> bytes:
    """JSON without spaces, as a device with little memory sends it."""
    return json.dumps(document, separators=(",", ":")).encode()
