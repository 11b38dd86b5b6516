"""Device keys: long and random, made by Relevo."""

import hmac
from hashlib import sha256


def hash_key(key: bytes) -> str:
    """What is stored of a key. A fast hash is enough for 192 random bits, and a reconnect storm stays cheap."""
    return sha256(key).hexdigest()


def key_fits(key: bytes, key_hash: str) -> bool:
    """Whether ``key`` is the one behind ``key_hash``; in constant time, never for an empty hash."""
    return bool(key_hash) and hmac.compare_digest(hash_key(key), key_hash)
