"""How often somebody may ask on this contract's paths (section 3.2): counted by token, by person, else by address."""

import math
from typing import Final

from fastapi import Depends, Request

from relevo.errors import Forbidden, TooMany, Unauthenticated
from relevo.http.errors import TOO_MANY
from relevo.http.services import Services, address_of, services_of


def count(wired: Services, request: Request, kind: str, name: str) -> None:
    """One more request of whoever ``kind`` and ``name`` say. Raises :class:`TooMany`."""
    if not wired.settings.thingsnxt.requests_per_minute:
        return
    wait = wired.app_requests.wait_s(kind, name)
    if wait:
        most = wired.settings.thingsnxt.requests_per_minute
        detail = f"{kind} {name}: more than {most} requests within a minute on paths of thingsnxt"
        device = name if kind == "device" else ""
        wired.refusals.refuse(device, "http", "too_many_requests", detail, address_of(request))
        raise TooMany(TOO_MANY, math.ceil(wait))
    wired.app_requests.failed(kind, name)


async def _limited(request: Request) -> None:
    wired = services_of(request)
    try:
        kind, name = "user", wired.auth.identify(request).name
    except (Unauthenticated, Forbidden):
        kind, name = "address", address_of(request)
    count(wired, request, kind, name)


limited: Final = Depends(_limited)
