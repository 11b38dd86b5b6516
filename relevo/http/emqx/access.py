"""Who asks on paths of contract emqx, and which devices are theirs (section 4.3).

``superusuario`` is our administrator, ``operador`` our operator, ``solo_lectura`` our viewer. What somebody may not
know of is 404 in the words of what does not exist.
"""

from hashlib import blake2b
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from relevo.domain.accounts import Account, Identity, Role
from relevo.domain.book import CLIENT_ID, CONTRACT, MQTT_ENABLED, UNIQUE, Book
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.errors import NotFound
from relevo.http.emqx.fields import whole
from relevo.http.services import Services

ROLES: Final = {
    Role.ADMINISTRATOR: "superusuario",
    Role.OPERATOR: "operador",
    Role.VIEWER: "solo_lectura",
}
ROLE_WORDS: Final = {"superusuario": "Superusuario", "operador": "Operador", "solo_lectura": "Solo lectura"}
NOT_FOUND: Final = "No encontrado."
ONLINE: Final = "online"
OFFLINE: Final = "offline"
ERROR: Final = "error"


class Ask(NamedTuple):
    """One request of somebody who may make it."""

    request: Request
    wired: Services
    identity: Identity

    @property
    def book(self) -> Book:
        return self.wired.managed.book

    @property
    def now(self) -> int:
        return self.wired.clock.now_ms()

    def right(self, device: Device | None) -> Right:
        """What the asker may do with a device of this contract."""
        if device is None or device.contract != CONTRACT:
            return Right.NONE
        return self.wired.auth.people.right(self.identity, device)

    def devices(self) -> list[Device]:
        """Those that the asker may view, oldest first."""
        return [one for one in self.wired.registry.of_contract(CONTRACT) if self.right(one)]

    def numbered(self, number: Any) -> Device | None:
        """The device with this ``id``, ``None`` when there is none or the asker may not know of it."""
        value = whole(number)
        found = self.wired.registry.numbered(value) if value is not None else None
        return found if self.right(found) else None

    def device(self, number: Any) -> Device:
        """The same. Raises :class:`NotFound`."""
        found = self.numbered(number)
        if found is None:
            raise NotFound(NOT_FOUND)
        return found


def name_of(device: Device) -> str:
    """``identificador_unico``; of a device that came another way its identity."""
    said = device.attributes.get(UNIQUE)
    return said if isinstance(said, str) and said else device.external_id


def client_id_of(device: Device) -> str:
    said = device.attributes.get(CLIENT_ID)
    if isinstance(said, str):
        return said
    return device.external_id if UNIQUE not in device.attributes else ""


def is_enabled(device: Device) -> bool:
    return device.attributes.get(MQTT_ENABLED, True) is not False


def status_of(wired: Services, device: Device) -> str:
    """``online``, ``offline`` or ``error``: an error is what a device that is there says of itself."""
    if not wired.online(device):
        return OFFLINE
    said = wired.twins.get(device.id).reported.get("status")
    return ERROR if said is not None and said.value == ERROR else ONLINE


def user_number(name: str) -> int:
    """A whole number for a person, always the same for one name."""
    return int.from_bytes(blake2b(f"emqx user\n{name}".encode(), digest_size=6).digest())


def person_numbered(wired: Services, number: Any) -> Account | None:
    """Whom a client means by ``number``, which may be a name as well."""
    value = whole(number)
    people = wired.auth.people.accounts
    if value is None:
        return people.get(number) if isinstance(number, str) else None
    return next((one for one in people.values() if user_number(one.name) == value), None)
