"""Who may come in through the MQTT door, and what they may do there.

A credential names a principal. Rights are topic filters that follow from the principal's contract, never from what
the client says about itself; a requested filter must lie wholly inside a granted one.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relevo.clock import Clock
from relevo.dialect import Dialect
from relevo.domain.devices import Device, Registry
from relevo.domain.keyring import LEGACY_PURPOSE, LEGACY_USER, Keyring
from relevo.domain.networks import is_private
from relevo.mqtt.tls import Certificate
from relevo.settings import Settings
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import Connect
from relevo.wire.topics import covers, matches


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in. ``device`` is the registry id, empty for users and the anonymous."""

    name: str
    device: str = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def may_publish(self, topic: str) -> bool:
        return not topic.startswith("$") and any(matches(allowed, topic) for allowed in self.publish)

    def may_subscribe(self, filter_: str) -> bool:
        return any(covers(allowed, filter_) for allowed in self.subscribe)

    def may_read(self, topic: str) -> bool:
        return any(matches(allowed, topic) for allowed in self.subscribe)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody stays outside; ``detail`` is for the timeline and never sent to the client."""

    code: Reason
    reason: str
    detail: str
    device: str = ""


Verdict = Principal | Refusal
# (name, password, address) -> whether that is an administrator
CheckUser = Callable[[str, str, str], Awaitable[bool]]


class Doorkeeper:
    """Decides from the registry and the switches."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        keyring: Keyring,
        dialects: dict[str, Dialect],
        clock: Clock,
        check_user: CheckUser,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._keyring = keyring
        self._clock = clock
        self._dialects = dialects
        self._check_user = check_user
        topics = tuple(settings.anonymous_topics) or tuple(
            one for dialect in dialects.values() for one in dialect.all_filters()
        )
        self._anonymous = Principal("", "", topics, topics)

    def verdict(
        self, connect: Connect, address: str, certificate: Certificate | None = None
    ) -> Verdict | Awaitable[Verdict]:
        """Decide about a CONNECT. An awaitable when a person's password has to be checked, which takes its time."""
        if certificate is not None:
            return self._by_certificate(certificate, connect.username or "")
        username = connect.username or ""
        if username == LEGACY_USER and connect.password is not None and self._registry.get(username) is None:
            return self._legacy_account(connect.password, address)
        device = self._registry.get(username) if username else None
        if device is not None and device.key_hash:
            if connect.password is not None and self._keyring.fits(device, connect.password, self._clock.now_ms()):
                return self._as_device(device)
            return Refusal(
                Reason.BAD_USER_NAME_OR_PASSWORD,
                "bad_credentials",
                f"wrong or missing key for device {device.id}",
                device.id,
            )
        if username and device is None and connect.password is not None:
            return self._person(username, connect.password, address)
        return self._stranger(username, address)

    def _legacy_account(self, password: bytes, address: str) -> Verdict:
        """Relay boards that have no key of their own share an account that reaches nothing but their contract."""
        wanted = self._keyring.secret_for(LEGACY_PURPOSE).encode()
        if not hmac.compare_digest(password, wanted):
            detail = f"wrong password for the account {LEGACY_USER!r} of boards without a key"
            return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "bad_credentials", detail)
        if not is_private(address):
            return Refusal(
                Reason.NOT_AUTHORIZED, "anonymous_not_private", f"{LEGACY_USER!r} from {address}: not a private network"
            )
        allowed = tuple(one for one in self._dialects[LEGACY_USER].all_filters() if "/+/" in one)
        return Principal(f"legacy:{LEGACY_USER}", "", allowed, allowed)

    def _as_device(self, device: Device) -> Principal:
        publish, subscribe = self._dialects[device.contract].device_filters(device.external_id)
        return Principal(f"device:{device.id}", device.id, publish, subscribe)

    def _by_certificate(self, certificate: Certificate, username: str) -> Verdict:
        """The authority's signature was checked by TLS; here it is found whose certificate it is."""
        device = self._registry.get(certificate.common_name)
        if device is None:
            device = next(
                (
                    one
                    for one in self._registry.all()
                    if one.attributes.get("certificate_sha256") == certificate.fingerprint
                ),
                None,
            )
        if device is None:
            detail = f"certificate of {certificate.common_name[:64]!r}, which is no registered device"
            return Refusal(Reason.NOT_AUTHORIZED, "certificate_unknown", detail)
        if username and username != device.id:
            detail = f"certificate of {device.id}, but user name {username[:64]!r}"
            return Refusal(Reason.NOT_AUTHORIZED, "certificate_of_another", detail, device.id)
        return self._as_device(device)

    async def _person(self, username: str, password: bytes, address: str) -> Verdict:
        try:
            known = await self._check_user(username, password.decode(), address)
        except UnicodeDecodeError:
            known = False
        if known:
            return Principal(f"user:{username}", "", ("#",), ("#", "$SYS/#"))
        return self._stranger(username, address)

    def _stranger(self, username: str, address: str) -> Verdict:
        named = f"user name {username!r}" if username else "no user name"
        if not self._settings.anonymous_mqtt:
            if username:
                return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "unknown_device", f"{named} is not registered")
            return Refusal(Reason.NOT_AUTHORIZED, "anonymous_closed", "a client without user name and password")
        if not is_private(address):
            return Refusal(
                Reason.NOT_AUTHORIZED, "anonymous_not_private", f"{named} from {address}: not a private network"
            )
        return self._anonymous
