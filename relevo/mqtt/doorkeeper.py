"""Who may come in through the MQTT door, and what they may do there.

A credential names a principal. Rights are topic filters that follow from the principal's contract, never from what
the client says about itself; a requested filter must lie wholly inside a granted one.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relevo.clock import Clock
from relevo.dialect import Denies, Dialect, Reserves, Updatable
from relevo.domain.credentials import Credential
from relevo.domain.devices import Device, Registry
from relevo.domain.keyring import HASH_PREFIX, LEGACY_PURPOSE, LEGACY_USER, Keyring, Shown
from relevo.domain.manifests import derived
from relevo.domain.networks import is_private
from relevo.errors import TooMany
from relevo.mqtt.chosen import ChosenPasswords
from relevo.mqtt.tls import Certificate
from relevo.settings import Settings
from relevo.watchers import MARK, Watchers
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import Connect
from relevo.wire.topics import covers, matches, meeting


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in. ``device`` is the registry id, empty for users and the anonymous.

    ``credential`` is what is kept of the proof they showed (:class:`relevo.domain.keyring.Shown`), empty when no
    credential of ours let them in.
    """

    name: str
    device: str = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    credential: str = ""
    # Taken away from the above again.
    never_publish: tuple[str, ...] = ()
    never_subscribe: tuple[str, ...] = ()

    def may_publish(self, topic: str) -> bool:
        if topic.startswith("$") or any(matches(denied, topic) for denied in self.never_publish):
            return False
        return any(matches(allowed, topic) for allowed in self.publish)

    def may_subscribe(self, filter_: str) -> bool:
        if any(meeting(denied, filter_) is not None for denied in self.never_subscribe):
            return False
        return any(covers(allowed, filter_) for allowed in self.subscribe)

    def may_read(self, topic: str) -> bool:
        if any(matches(denied, topic) for denied in self.never_subscribe):
            return False
        return any(matches(allowed, topic) for allowed in self.subscribe)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody stays outside; ``detail`` is for the timeline and never sent to the client."""

    code: Reason
    reason: str
    detail: str
    device: str = ""


Verdict = Principal | Refusal
_WATCHER = "watcher:"
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
        chosen: ChosenPasswords | None = None,
        own_authority: Callable[[], str] = str,
        watchers: Watchers | None = None,
    ) -> None:
        """``own_authority`` gives the common name of this installation's authority, empty while there is none."""
        self._settings = settings
        self._registry = registry
        self._keyring = keyring
        self._clock = clock
        self._dialects = dialects
        self._check_user = check_user
        self._chosen = chosen
        self._own_authority = own_authority
        self._watchers = watchers
        self._anonymous = self._nobody()
        self._updatable = frozenset(name for name, one in dialects.items() if isinstance(one, Updatable))

    def _nobody(self) -> Principal:
        chosen, each = tuple(self._settings.anonymous_topics), self._dialects.values()
        said = chosen or tuple(one for dialect in each for one in _said_by_anybody(dialect))
        heard = chosen or tuple(one for dialect in each for one in dialect.all_filters())
        return Principal("", "", said, heard)

    def again(self, principal: Principal) -> Principal | None:
        """Somebody who was let in, with the rights of this moment; ``None`` when they may not stay."""
        if principal.device:
            device = self._registry.get(principal.device)
            return self._as_device(device, principal.credential) if device is not None else None
        if principal.name.startswith(_WATCHER):
            return self._watcher(principal.name.removeprefix(_WATCHER))
        return self._anonymous if not principal.name else principal

    def update_key(self, principal: Principal, connect: Connect, certificate: Certificate | None) -> bytes:
        """What manifests for a device are signed with that came in by a key, see :mod:`relevo.domain.manifests`; empty
        for whoever gets none, or proved to be who it is in another way."""
        device = self._registry.get(principal.device)
        if device is None or certificate is not None or not principal.credential or not connect.password:
            return b""
        return derived(connect.password) if device.contract in self._updatable else b""

    @property
    def watched(self) -> bool:
        """Whether anybody may watch with an account of their own."""
        return self._watchers is not None and len(self._watchers) > 0

    def renew(self) -> None:
        """The contracts' topics changed."""
        self._anonymous = self._nobody()

    def _watcher(self, username: str) -> Principal | None:
        filters = self._watchers.filters(username) if self._watchers is not None else None
        return Principal(f"{_WATCHER}{username}", "", (), filters) if filters is not None else None

    def verdict(
        self, connect: Connect, address: str, certificate: Certificate | None = None
    ) -> Verdict | Awaitable[Verdict]:
        """Decide about a CONNECT. An awaitable when a chosen password has to be checked, which takes its time."""
        username, password = connect.username or "", connect.password
        if certificate is not None:
            return self._by_certificate(certificate, username)
        if not username:
            return self._stranger(username, address)
        if username == LEGACY_USER and password is not None and self._registry.get(username) is None:
            return self._legacy_account(password, address)
        device = self._registry.get(username)
        one = self._keyring.by_username(username)
        owner = self._registry.get(one.device) if one is not None else None
        if device is not None and self._keyring.guards(device):
            shown = self._keyring.check_key(device, password, self._clock.now_ms()) if password is not None else None
            # A device that came later may have the id that is another's user name: each gets in with its own proof.
            if shown is not None or owner is None:
                return self._with_key(device, shown)
        if one is not None and owner is not None:
            return self._by_username(one, owner, password)
        if username.startswith(MARK) and password is not None and self._watchers is not None:
            watcher = self._watcher(username) if self._watchers.admit(username, password) else None
            if watcher is not None:
                return watcher
        if device is None and password is not None:
            return self._person(username, password, address)
        return self._stranger(username, address)

    def _with_key(self, device: Device, shown: Shown | None) -> Verdict:
        if shown is None:
            return _wrong(f"wrong or missing key for device {device.id}", device)
        if shown.expired:
            return _over(f"a key of {device.id} that was replaced, after its time of grace", device)
        return self._as_device(device, shown.kept)

    def _by_username(self, one: Credential, device: Device, password: bytes | None) -> Verdict | Awaitable[Verdict]:
        now = self._clock.now_ms()
        if not one.good_at(now):
            return _over(f"user name {one.username!r} of {device.id}", device)
        wrong = _wrong(f"wrong or missing password for user name {one.username!r} of {device.id}", device)
        if password is None:
            return wrong
        if one.secret_hash.startswith(HASH_PREFIX):
            shown = self._keyring.check_generated(one, password, now)
            return self._as_device(device, shown.kept) if shown is not None else wrong
        if self._chosen is None:
            return wrong
        if self._chosen.remembers(one, password):
            return self._as_device(device, one.secret_hash)
        return self._by_chosen(self._chosen, one, password, wrong)

    async def _by_chosen(self, chosen: ChosenPasswords, one: Credential, password: bytes, wrong: Refusal) -> Verdict:
        try:
            fits = await chosen.fit(one, password)
        except TooMany:
            detail = f"user name {one.username!r}: too many passwords are checked at this moment"
            return Refusal(Reason.SERVER_BUSY, "passwords_busy", detail, one.device)
        # It may have been taken back while it was checked.
        device = self._registry.get(one.device)
        if not fits or device is None or not self._keyring.stands(one.device, one.secret_hash, self._clock.now_ms()):
            return wrong
        return self._as_device(device, one.secret_hash)

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

    def _as_device(self, device: Device, credential: str) -> Principal:
        dialect = self._dialects[device.contract]
        publish, subscribe = dialect.device_filters(device.external_id)
        denied = dialect.denied_filters(device.external_id) if isinstance(dialect, Denies) else ((), ())
        return Principal(f"device:{device.id}", device.id, publish, subscribe, credential, *denied)

    def _by_certificate(self, certificate: Certificate, username: str) -> Verdict:
        """The authority's signature was checked by TLS; here it is found whose certificate it is.

        One of our own is good for as long as its record is here. A foreign authority takes its certificates back
        itself, so there the name alone decides.
        """
        named = self._registry.get(certificate.common_name)
        one = self._keyring.by_fingerprint(certificate.fingerprint)
        if one is not None:
            device = self._registry.get(one.device)
            if device is not None and not one.good_at(self._clock.now_ms()):
                return _over(f"certificate of {device.id}", device, Reason.NOT_AUTHORIZED)
        elif self._is_own(certificate):
            detail = f"certificate of {certificate.common_name[:64]!r} that was revoked"
            return Refusal(Reason.NOT_AUTHORIZED, "certificate_revoked", detail, named.id if named else "")
        else:
            device = named or self._by_attribute(certificate.fingerprint)
        if device is None:
            detail = f"certificate of {certificate.common_name[:64]!r}, which is no registered device"
            return Refusal(Reason.NOT_AUTHORIZED, "certificate_unknown", detail)
        if username and username != device.id:
            detail = f"certificate of {device.id}, but user name {username[:64]!r}"
            return Refusal(Reason.NOT_AUTHORIZED, "certificate_of_another", detail, device.id)
        return self._as_device(device, one.secret_hash if one is not None else "")

    def _is_own(self, certificate: Certificate) -> bool:
        """Whether our authority signed it; without a foreign one in the settings nobody else can have."""
        return self._settings.tls_client_ca is None or certificate.issuer == self._own_authority() != ""

    def _by_attribute(self, fingerprint: str) -> Device | None:
        return next(
            (one for one in self._registry.all() if one.attributes.get("certificate_sha256") == fingerprint), None
        )

    async def _person(self, username: str, password: bytes, address: str) -> Verdict:
        try:
            known = await self._check_user(username, password.decode(), address)
        except UnicodeDecodeError:
            known = False
        if known:
            return Principal(f"user:{username}", "", ("#",), ("#", "$SYS/#"))
        return self._stranger(username, address)

    def _stranger(self, username: str, address: str) -> Verdict:
        former = self._keyring.former_owner(username)
        if former:
            detail = f"user name {username!r} of {former}, which was revoked"
            return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "bad_credentials", detail, former)
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


def _said_by_anybody(dialect: Dialect) -> tuple[str, ...]:
    """Where a client without an account may publish."""
    return dialect.open_filters() if isinstance(dialect, Reserves) else dialect.all_filters()


def _wrong(detail: str, device: Device) -> Refusal:
    return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "bad_credentials", detail, device.id)


def _over(detail: str, device: Device, code: Reason = Reason.BAD_USER_NAME_OR_PASSWORD) -> Refusal:
    return Refusal(code, "credential_expired", detail, device.id)
