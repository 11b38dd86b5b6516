"""What devices prove themselves with: keys, user names with passwords, certificates.

A device's first key lives in its registry entry; more of them, and those that are on their way out during a rotation,
are credentials of their own.
"""

import msgspec

from relevo.domain.times import is_over


class Credential(msgspec.Struct, frozen=True):
    """One proof of a device. Times in milliseconds UTC, 0 means never.

    ``secret_hash`` is a keyed hash (``k1:…``) or Argon2id for keys and passwords, the SHA-256 fingerprint for
    certificates. ``username`` is the MQTT user name of a password.
    """

    id: str
    device: str
    kind: str
    secret_hash: str
    created_at: int
    expires_at: int = 0
    username: str = ""
    label: str = ""
    by: str = ""

    def good_at(self, now_ms: int) -> bool:
        return not is_over(self.expires_at, now_ms)
