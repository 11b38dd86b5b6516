"""Secrets that have to be shown to somebody else, such as a broker's password: encrypted in the database.

AES-256 in GCM under a key that follows from the secret of this installation, which is not in the database. The library
is imported with the first secret, because most installations have none.
"""

import base64
import secrets
from hashlib import sha256
from typing import Final

from relevo.domain.keyring import Keyring

_MARK: Final = "s1:"
_NONCE: Final = 12


def seal(keyring: Keyring, text: str) -> str:
    """What is kept of ``text``; empty for an empty one."""
    if not text:
        return ""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return _MARK + base64.b64encode(nonce + AESGCM(_key(keyring)).encrypt(nonce, text.encode(), None)).decode()


def unseal(keyring: Keyring, kept: str) -> str:
    """The text again; empty when it cannot be read, as after a lost key."""
    if not kept.startswith(_MARK):
        return ""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = base64.b64decode(kept[len(_MARK) :])
    try:
        return AESGCM(_key(keyring)).decrypt(data[:_NONCE], data[_NONCE:], None).decode()
    except InvalidTag:
        return ""


def _key(keyring: Keyring) -> bytes:
    return sha256(keyring.secret_for("managed secrets").encode()).digest()
