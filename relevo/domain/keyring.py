"""All device credentials in memory, kept equal to the store.

Long random keys are kept as HMAC-SHA256 under a secret of this installation that is not in the database: fast, so that
thousands of devices may return at once, and worthless to whoever has the database alone.
"""

import base64
import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from relevo.domain.credentials import Credential
from relevo.domain.devices import Device, Registry
from relevo.domain.records import Kept, RecordChange

HASH_PREFIX: Final = "k1:"
# The MQTT account of relay boards without a key: contract autocore, section 8.2.
LEGACY_USER: Final = "autocore"
LEGACY_PURPOSE: Final = "mqtt account autocore"


class Keyring:
    """Finds and checks credentials. :meth:`apply` follows every commit."""

    def __init__(self, registry: Registry, pepper: bytes) -> None:
        self._registry = registry
        self._pepper = pepper
        self._by_id: dict[str, Credential] = {}
        self._by_hash: dict[str, str] = {}
        self._by_username: dict[str, str] = {}
        self._of_device: dict[str, set[str]] = {}

    def hash(self, key: bytes) -> str:
        """What is kept of a long random key."""
        return HASH_PREFIX + hmac.digest(self._pepper, key, "sha256").hex()

    def secret_for(self, purpose: str) -> str:
        """A secret of this installation, always the same for one ``purpose``; 43 letters."""
        digest = hmac.digest(self._pepper, f"secret for\0{purpose}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        if isinstance(change, Kept):
            if isinstance(change.record, Credential):
                self.put(change.record)
        elif change.kind is Credential:
            self.drop(change.key)

    def load(self, credentials: Iterable[Credential]) -> None:
        for one in credentials:
            self.put(one)

    def put(self, one: Credential) -> None:
        self.drop(one.id)
        self._by_id[one.id] = one
        self._by_hash[one.secret_hash] = one.id
        if one.username:
            self._by_username[one.username] = one.id
        self._of_device.setdefault(one.device, set()).add(one.id)

    def drop(self, credential_id: str) -> None:
        one = self._by_id.pop(credential_id, None)
        if one is None:
            return
        if self._by_hash.get(one.secret_hash) == one.id:
            del self._by_hash[one.secret_hash]
        if self._by_username.get(one.username) == one.id:
            del self._by_username[one.username]
        held = self._of_device[one.device]
        held.discard(one.id)
        if not held:
            del self._of_device[one.device]

    def get(self, credential_id: str) -> Credential | None:
        return self._by_id.get(credential_id)

    def of_device(self, device: str) -> list[Credential]:
        """A device's credentials, oldest first."""
        found = [self._by_id[one] for one in self._of_device.get(device, ())]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def by_username(self, username: str) -> Credential | None:
        """The credential with this MQTT user name."""
        return self._by_id.get(self._by_username.get(username, ""))

    def by_fingerprint(self, fingerprint: str) -> Credential | None:
        """The certificate with this SHA-256 fingerprint (lower-case hexadecimal)."""
        one = self._by_id.get(self._by_hash.get(fingerprint, ""))
        return one if one is not None and one.kind == "certificate" else None

    def fits(self, device: Device, key: bytes, now_ms: int) -> bool:
        """Whether ``key`` is one of the keys of ``device``; in constant time for each."""
        keyed = self.hash(key)
        if _equal(key, keyed, device.key_hash):
            return True
        return any(
            one.kind == "key" and one.good_at(now_ms) and hmac.compare_digest(keyed, one.secret_hash)
            for one in self.of_device(device.id)
        )

    def device_of(self, key: bytes, now_ms: int) -> str:
        """The id of the device with this key, empty for none."""
        keyed = self.hash(key)
        found = self._registry.by_key(keyed) or self._registry.by_key(sha256(key).hexdigest())
        if found:
            return found
        one = self._by_id.get(self._by_hash.get(keyed, ""))
        return one.device if one is not None and one.kind == "key" and one.good_at(now_ms) else ""


def _equal(key: bytes, keyed: str, kept: str) -> bool:
    if kept.startswith(HASH_PREFIX):
        return hmac.compare_digest(keyed, kept)
    # From before keys were hashed under the installation's secret.
    return bool(kept) and hmac.compare_digest(sha256(key).hexdigest(), kept)
