"""What each route needs of whoever asks: declared beside the route, enforced there, listed in ``docs/rights.md``.

A route takes the result as a parameter::

    async def get_device(held: Annotated[Held, view_device]) -> …

A route without a need is a mistake that a test finds.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.errors import Forbidden, Unauthenticated
from relevo.http.auth import bearer
from relevo.http.services import Services, address_of, services

# The key under which a route's need stands in the OpenAPI description.
NEEDS: Final = "x-relevo-needs"

_RIGHT_WORDS: Final = {
    Right.VIEW: "who may view the device",
    Right.CONTROL: "who may control the device",
    Right.OWN: "the device's owner",
}
_ROLE_WORDS: Final = {
    Role.VIEWER: "everybody who is signed in",
    Role.OPERATOR: "operators",
    Role.ADMINISTRATOR: "administrators",
}


class Held(NamedTuple):
    """A person and the device they may do this with."""

    identity: Identity
    device: Device


class ByKey(NamedTuple):
    """A device and the key that it showed, which nobody keeps."""

    device: Device
    key: bytes


class Need:
    """One requirement. ``role`` and ``right`` are ``None`` where they do not matter."""

    def __init__(self, words: str, role: Role | None = None, right: Right | None = None) -> None:
        self.words = words
        self.role = role
        self.right = right


class _Nobody(Need):
    async def __call__(self) -> None:
        """Everybody may ask."""


class _Person(Need):
    async def __call__(self, request: Request, wired: Annotated[Services, Depends(services)]) -> Identity:
        assert self.role is not None
        return wired.auth.require(request, self.role)


class _Bearer(Need):
    """A person who shows a token: a browser sends its cookie by itself, also for a foreign page."""

    async def __call__(self, request: Request, wired: Annotated[Services, Depends(services)]) -> Identity:
        assert self.role is not None
        if not bearer(request):
            raise Unauthenticated("missing token")
        return wired.auth.require(request, self.role)


class _OnDevice(Need):
    async def __call__(self, request: Request, device_id: str, wired: Annotated[Services, Depends(services)]) -> Held:
        assert self.right is not None
        identity = wired.auth.identify(request)
        try:
            return Held(identity, wired.auth.device_for(identity, device_id, self.right))
        except Forbidden:
            wired.refuse_person(request, identity, device_id, f"{request.method} needs the right to {self.right.name}")
            raise


class _OnDeviceOrItsKey(Need):
    async def __call__(self, request: Request, device_id: str, wired: Annotated[Services, Depends(services)]) -> Device:
        assert self.right is not None
        device = wired.registry.get(device_id)
        if device is not None and wired.auth.is_device(request, device):
            return device
        return wired.auth.device_for(wired.auth.identify(request), device_id, self.right)


class _ItsKey(Need):
    async def __call__(self, request: Request, device_id: str, wired: Annotated[Services, Depends(services)]) -> Device:
        device = wired.registry.get(device_id)
        if device is None or not wired.auth.is_device(request, device):
            detail = f"{request.method} for {device_id[:64]!r} without its key"
            wired.refusals.refuse(
                device.id if device is not None else "", "http", "bad_credentials", detail, address_of(request)
            )
            wired.auth.identify(request)
            raise Forbidden("only the device itself, with its key")
        return device


class _AnyKey(Need):
    async def __call__(self, request: Request, wired: Annotated[Services, Depends(services)]) -> ByKey:
        found, key = wired.auth.shown(request)
        device = wired.registry.get(found) if found else None
        if device is None:
            detail = f"{request.method} {request.url.path} without the key of a device"
            wired.refusals.refuse("", "http", "bad_credentials", detail, address_of(request))
            wired.auth.identify(request)
            raise Forbidden("only a device, with its key")
        return ByKey(device, key)


def _person(role: Role) -> Any:
    return Depends(_Person(_ROLE_WORDS[role], role))


def _on_device(right: Right) -> Any:
    return Depends(_OnDevice(_RIGHT_WORDS[right], None, right))


meter_posts: Final = Depends(
    _Nobody(
        "everybody who is signed in, of meters that they may control or that are in no registry; a meter with its key"
    )
)
meter_commands: Final = Depends(
    _Nobody("administrators, with a Bearer token, or with their session and the token of its forms")
)
AdministratorByToken = Annotated[Identity, Depends(_Bearer("administrators, with a Bearer token", Role.ADMINISTRATOR))]
open_to_all: Final = Depends(_Nobody("everybody"))
wall_link: Final = Depends(_Nobody("who has the link of the wall"))
device_token: Final = Depends(_Nobody("a device with its token"))
refresh_token: Final = Depends(_Nobody("who has a refresh token"))
mqtt_settings: Final = Depends(
    _Nobody("a device with its key; everybody on a private network while pairing or `open_mqtt_config` is open")
)
open_reads: Final = Depends(
    _Nobody("everybody on a private network while `open_reads` is on, otherwise who is signed in, of their devices")
)
while_pairing: Final = Depends(
    _Nobody("everybody on a private network while pairing or `open_registration` is open, otherwise operators")
)
reads_alchemy: Final = Depends(
    _Nobody(
        "everybody on a private network while `open_reads` is on, otherwise who may view the device, operators while "
        "it is unclaimed, and a device with its key for itself"
    )
)
lists_alchemy: Final = Depends(
    _Nobody("everybody on a private network while `open_reads` is on, otherwise operators, of what nobody has claimed")
)
writes_alchemy: Final = Depends(
    _Nobody(
        "everybody on a private network while `open_control` is on, otherwise who may control the device, operators "
        "while it is unclaimed, and a device with its key for its own status"
    )
)
claims_alchemy: Final = Depends(
    _Nobody("everybody on a private network while `open_control` is on, otherwise operators")
)
owner_or_board: Final = Depends(_Nobody("the board's owner, and the board with its key for its addresses"))
settings_of_board: Final = Depends(
    _Nobody("the board with its key; who may view it while pairing or `open_mqtt_config` is open")
)
while_registration: Final = Depends(
    _Nobody("everybody on a private network while `open_registration` is on, otherwise administrators")
)
registers_emqx: Final = Depends(
    _Nobody("administrators, and everybody on a private network while `open_registration` is on")
)
Viewer = Annotated[Identity, _person(Role.VIEWER)]
Operator = Annotated[Identity, _person(Role.OPERATOR)]
Administrator = Annotated[Identity, _person(Role.ADMINISTRATOR)]
# Boards of contract autocore, which are named by a number or a uuid of their own.
OfBoards = Annotated[
    Identity, Depends(_Person("everybody who is signed in, for the boards they may view", Role.VIEWER))
]
ImportsDevices = Annotated[
    Identity, Depends(_Person("operators, into the devices that they may control", Role.OPERATOR))
]
OfDevices = Annotated[
    Identity, Depends(_Person("everybody who is signed in, for the devices they may view", Role.VIEWER))
]
ControlsBoard = Annotated[Identity, Depends(_Person("who may control the board", Role.VIEWER))]
OwnsBoard = Annotated[Identity, Depends(_Person("the board's owner", Role.VIEWER))]
MayView = Annotated[Held, _on_device(Right.VIEW)]
MayControl = Annotated[Held, _on_device(Right.CONTROL)]
Owns = Annotated[Held, _on_device(Right.OWN)]
ByItsKey = Annotated[ByKey, Depends(_AnyKey("a device with its key"))]
IsDevice = Annotated[Device, Depends(_ItsKey("the device with its key"))]
MayViewOrIsDevice = Annotated[
    Device,
    Depends(_OnDeviceOrItsKey("who may view the device, and the device with its key", None, Right.VIEW)),
]


def need_of(route: APIRoute) -> Need | None:
    """The need that a route declares."""
    return next(_needs(route.dependant), None)


def _needs(dependant: Dependant) -> Iterator[Need]:
    for one in dependant.dependencies:
        call: object = one.call
        if isinstance(call, Need):
            yield call
        yield from _needs(one)
