from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.keys import hash_key, key_fits


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_key_fits_its_own_hash_only(key: bytes, other: bytes) -> None:
    assert key_fits(key, hash_key(key))
    assert key_fits(other, hash_key(key)) is (other == key)


@given(st.binary(max_size=40))
def test_nothing_fits_a_device_without_a_key(key: bytes) -> None:
    assert not key_fits(key, "")


def test_the_hash_does_not_hold_the_key() -> None:
    assert "secret" not in hash_key(b"secret")
    assert len(hash_key(b"secret")) == 64
