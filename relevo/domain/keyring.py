"""All device credentials in memory, kept equal to the store.

Theory. Every proof is known by what is kept of it: the keyed hash of a key or password, the fingerprint of a
certificate. A connection remembers that and not the record's name, because a rotation moves a key from the device's
registry entry to a credential of its own, and whoever came in with it must not notice.

Long random keys are kept as HMAC-SHA256 under a secret of this installation that is not in the database: fast, so that
thousands of devices may return at once, and worthless to whoever has the database alone.
"""

import base64
import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from relevo.domain.credentials import Credential
from relevo.domain.devices import Device, Registry
from relevo.domain.records import Dropped, Kept, RecordChange

HASH_PREFIX: Final = "k1:"
# The MQTT account of relay boards without a key: contract autocore, section 8.2.
LEGACY_USER: Final = "autocore"
LEGACY_PURPOSE: Final = "mqtt account autocore"
# User names that were taken back, so that a board that still uses one can be told apart from a stranger.
_FORMER_MOST: Final = 1_000


class Shown(NamedTuple):
    """Whose credential somebody showed; ``kept`` is the hash or fingerprint that stands for it."""

    device: str
    kept: str
    expired: bool


class Keyring:
    """Finds and checks credentials. :meth:`apply` follows every commit."""

    def __init__(self, registry: Registry, pepper: bytes) -> None:
        self._registry = registry
        self._pepper = pepper
        self._keyed = hmac.new(pepper, digestmod=sha256)
        self._by_id: dict[str, Credential] = {}
        self._by_hash: dict[str, str] = {}
        self._by_username: dict[str, str] = {}
        self._of_device: dict[str, set[str]] = {}
        self._expiring: dict[str, Credential] = {}
        self._former: dict[str, str] = {}

    def hash(self, key: bytes) -> str:
        """What is kept of a long random key."""
        # Not hmac.digest, which gives the interpreter's lock away for a microsecond of work and has to win it back.
        keyed = self._keyed.copy()
        keyed.update(key)
        return HASH_PREFIX + keyed.hexdigest()

    def secret_for(self, purpose: str) -> str:
        """A secret of this installation, always the same for one ``purpose``; 43 letters."""
        digest = hmac.digest(self._pepper, f"secret for\0{purpose}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        if isinstance(change, Kept):
            if isinstance(change.record, Credential):
                self.put(change.record)
        elif isinstance(change, Dropped) and change.kind is Credential:
            one = self._by_id.get(change.key)
            self.drop(change.key)
            if one is not None and one.username:
                if len(self._former) >= _FORMER_MOST:
                    del self._former[next(iter(self._former))]
                self._former[one.username] = one.device

    def load(self, credentials: Iterable[Credential]) -> None:
        for one in credentials:
            self.put(one)

    def put(self, one: Credential) -> None:
        self.drop(one.id)
        self._by_id[one.id] = one
        self._by_hash[one.secret_hash] = one.id
        if one.username:
            self._by_username[one.username] = one.id
            self._former.pop(one.username, None)
        if one.expires_at:
            self._expiring[one.id] = one
        self._of_device.setdefault(one.device, set()).add(one.id)

    def drop(self, credential_id: str) -> None:
        one = self._by_id.pop(credential_id, None)
        if one is None:
            return
        if self._by_hash.get(one.secret_hash) == one.id:
            del self._by_hash[one.secret_hash]
        if self._by_username.get(one.username) == one.id:
            del self._by_username[one.username]
        self._expiring.pop(one.id, None)
        held = self._of_device[one.device]
        held.discard(one.id)
        if not held:
            del self._of_device[one.device]

    def get(self, credential_id: str) -> Credential | None:
        return self._by_id.get(credential_id)

    def all(self) -> list[Credential]:
        """Every credential, ordered by id."""
        return sorted(self._by_id.values(), key=lambda one: one.id)

    def of_device(self, device: str) -> list[Credential]:
        """A device's credentials, oldest first."""
        found = [self._by_id[one] for one in self._of_device.get(device, ())]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def guards(self, device: Device) -> bool:
        """Whether ``device`` has anything to prove itself with; one that has none proves nothing."""
        return bool(device.key_hash) or device.id in self._of_device

    def expired(self, now_ms: int) -> list[Credential]:
        """Credentials whose time is over but that are still here, so that they can be named."""
        return [one for one in self._expiring.values() if not one.good_at(now_ms)]

    def by_username(self, username: str) -> Credential | None:
        """The credential with this MQTT user name."""
        return self._by_id.get(self._by_username.get(username, ""))

    def former_owner(self, username: str) -> str:
        """The device that had this MQTT user name until it was revoked; empty for none, and after a restart."""
        return self._former.get(username, "")

    def by_fingerprint(self, fingerprint: str) -> Credential | None:
        """The certificate with this SHA-256 fingerprint (lower-case hexadecimal)."""
        one = self._by_id.get(self._by_hash.get(fingerprint, ""))
        return one if one is not None and one.kind == "certificate" else None

    def check_key(self, device: Device, key: bytes, now_ms: int) -> Shown | None:
        """``key`` as one of the keys of ``device``; ``None`` when it is none of them."""
        keyed = self.hash(key)
        if _equal(key, keyed, device.key_hash):
            return Shown(device.id, device.key_hash, False)
        one = self._by_kept(keyed) or self._by_kept(sha256(key).hexdigest())
        if one is None or one.kind != "key" or one.device != device.id:
            return None
        return Shown(device.id, one.secret_hash, not one.good_at(now_ms))

    def check_generated(self, one: Credential, password: bytes, now_ms: int) -> Shown | None:
        """``password`` as the generated one of ``one``; ``None`` when it is not, or was chosen by a person."""
        if not one.secret_hash.startswith(HASH_PREFIX) or one.kind != "password":
            return None
        if not hmac.compare_digest(self.hash(password), one.secret_hash):
            return None
        return Shown(one.device, one.secret_hash, not one.good_at(now_ms))

    def fits(self, device: Device, secret: bytes, now_ms: int, username: str | None = None) -> bool:
        """Whether ``secret`` is a key, or the generated password, of ``device``.

        A password shown with a ``username`` must be shown with its own.
        """
        shown = self.check_key(device, secret, now_ms)
        if shown is not None:
            return not shown.expired
        one = self._by_kept(self.hash(secret))
        if one is None or one.kind != "password" or one.device != device.id or not one.good_at(now_ms):
            return False
        return username is None or username == one.username

    def device_of(self, secret: bytes, now_ms: int) -> str:
        """The id of the device with this key or generated password, empty for none."""
        keyed = self.hash(secret)
        plain = sha256(secret).hexdigest()
        found = self._registry.by_key(keyed) or self._registry.by_key(plain)
        if found:
            return found
        one = self._by_kept(keyed) or self._by_kept(plain)
        return one.device if one is not None and one.kind != "certificate" and one.good_at(now_ms) else ""

    def stands(self, device_id: str, kept: str, now_ms: int) -> bool:
        """Whether what somebody came in with is still good."""
        device = self._registry.get(device_id)
        if device is None:
            return False
        if device.key_hash == kept:
            return True
        one = self._by_kept(kept)
        return one is not None and one.device == device_id and one.good_at(now_ms)

    def _by_kept(self, kept: str) -> Credential | None:
        return self._by_id.get(self._by_hash.get(kept, ""))


def _equal(key: bytes, keyed: str, kept: str) -> bool:
    if kept.startswith(HASH_PREFIX):
        return hmac.compare_digest(keyed, kept)
    # From before keys were hashed under the installation's secret.
    return bool(kept) and hmac.compare_digest(sha256(key).hexdigest(), kept)
