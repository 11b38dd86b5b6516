"""Who may see and change which device of contract alchemy (section 8).

Unclaimed devices are nobody's: operators see them, so that one of them can claim one. What somebody may not know of is
404 in the words of what does not exist.
"""

import re
from typing import Final, NamedTuple

from starlette.requests import HTTPConnection

from relevo.dialects.alchemy.objects import CONTRACT
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device, is_claimed
from relevo.domain.grants import Right
from relevo.domain.networks import is_private
from relevo.errors import Forbidden, NotFound, Unauthenticated
from relevo.http.auth import DEVICE_TOKEN
from relevo.http.services import Services, address_of

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class Asker(NamedTuple):
    """A person, a device by its registry id, or neither on a network where that is enough."""

    identity: Identity | None = None
    device: str = ""

    @property
    def name(self) -> str:
        """Whose doing it is, in stories."""
        return self.identity.name if self.identity else self.device or "open_control"


def reader(request: HTTPConnection, wired: Services) -> Asker:
    """Whoever reads. Raises :class:`Unauthenticated`."""
    device = wired.auth.device_of(request) if _shows_key(request) else ""
    if device or (wired.settings.reads_open and is_private(address_of(request))):
        return Asker(device=device)
    return Asker(wired.auth.identify(request))


def changer(request: HTTPConnection, wired: Services) -> Asker:
    """Whoever changes something. Raises :class:`Unauthenticated`; :class:`Forbidden` for a foreign page."""
    device = wired.auth.device_of(request) if _shows_key(request) else ""
    if device:
        return Asker(device=device)
    try:
        return Asker(wired.auth.identify(request))
    except Unauthenticated:
        if not (wired.settings.open_control and is_private(address_of(request))):
            raise
    if request.headers.get("origin", "") not in wired.settings.allowed_origins:
        # A page from somewhere else must not use that its visitor is on this network.
        wired.auth.check_origin(request)
    return Asker()


def person(request: HTTPConnection, wired: Services) -> Identity | None:
    """The operator who claims or creates; ``None`` where nobody need sign in.

    Raises :class:`Unauthenticated` and :class:`Forbidden`.
    """
    return _operator(changer(request, wired))


def lister(request: HTTPConnection, wired: Services) -> Asker:
    """Whoever looks for devices to claim. Raises :class:`Unauthenticated` and :class:`Forbidden`."""
    asker = reader(request, wired)
    _operator(asker)
    return asker


def _operator(asker: Asker) -> Identity | None:
    if asker.device:
        raise Forbidden("a device cannot do this with its key")
    if asker.identity is not None and not asker.identity.at_least(Role.OPERATOR):
        raise Forbidden("needs the role operator")
    return asker.identity


def right(wired: Services, asker: Asker, device: Device) -> Right:
    """What ``asker`` may do with ``device``."""
    if asker.identity is None:
        return Right.OWN if asker.device in ("", device.id) else Right.NONE
    held = wired.auth.people.right(asker.identity, device)
    if not held and not is_claimed(device) and asker.identity.at_least(Role.OPERATOR):
        return Right.CONTROL
    return held


def find(wired: Services, asker: Asker, number: str) -> Device:
    """The device with this ``id``. Raises :class:`NotFound`."""
    if _NUMBER.fullmatch(number):
        device = wired.registry.numbered(int(number))
        if device is not None and device.contract == CONTRACT and right(wired, asker, device):
            return device
    raise NotFound("Dispositivo no encontrado")


def controlled(request: HTTPConnection, wired: Services, asker: Asker, number: str) -> Device:
    """As :func:`find`, for a change. Raises :class:`NotFound` and :class:`Forbidden`."""
    device = find(wired, asker, number)
    if right(wired, asker, device) < Right.CONTROL:
        assert asker.identity is not None
        detail = f"{request.scope['method']} needs the right to CONTROL"
        wired.refuse_person(request, asker.identity, device.id, detail)
        raise Forbidden("needs the right to control this device")
    return device


class Onlooker:
    """Somebody who follows the live stream: asked again for every event."""

    def __init__(self, wired: Services, asker: Asker) -> None:
        self._wired = wired
        self._asker = asker

    def good(self) -> bool:
        """Whether the credential they came with is still in force."""
        return self._asker.identity is None or self._wired.auth.people.good(self._asker.identity)

    def sees(self, device: Device) -> bool:
        return self.good() and bool(right(self._wired, self._asker, device))


def admit(request: HTTPConnection, wired: Services) -> Onlooker:
    """Whoever opens the stream. Raises :class:`Unauthenticated`, and :class:`Forbidden` for a device."""
    asker = reader(request, wired)
    if asker.device:
        raise Forbidden("a device cannot follow the stream with its key")
    return Onlooker(wired, asker)


def _shows_key(request: HTTPConnection) -> bool:
    return "authorization" in request.headers or DEVICE_TOKEN in request.headers
