"""The vectors of RFC 8032, section 7.1."""

from binascii import hexlify, unhexlify

import ed25519

VECTORS = (
    (
        b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        b"",
    ),
    (
        b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        b"72",
    ),
    (
        b"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        b"af82",
    ),
)


def test_signatures_of_the_standard_are_good_and_altered_ones_are_not():
    for public, signature, message in VECTORS:
        public, signature, message = unhexlify(public), unhexlify(signature), unhexlify(message)
        assert ed25519.verify(public, signature, message)
        assert not ed25519.verify(public, signature, message + b"\0")
        assert not ed25519.verify(public, bytes([signature[0] ^ 1]) + signature[1:], message)
        assert not ed25519.verify(public[:-1] + bytes([public[31] ^ 0x80]), signature, message)


def test_a_signature_with_a_foreign_multiple_of_the_order_is_refused():
    public, signature, message = [unhexlify(one) for one in VECTORS[1]]
    s = int.from_bytes(signature[32:], "little") + ed25519.L
    assert not ed25519.verify(public, signature[:32] + s.to_bytes(32, "little"), message)


def test_what_is_no_key_or_no_signature_is_refused():
    public, signature, message = [unhexlify(one) for one in VECTORS[0]]
    assert not ed25519.verify(b"", signature, message)
    assert not ed25519.verify(public, signature[:63], message)
    assert not ed25519.verify(b"\xff" * 32, signature, message)


def test_sha512_is_that_of_the_standard():
    assert hexlify(ed25519.sha512(b"abc")[:8]) == b"ddaf35a193617aba"
    # Around the lengths at which the padding takes another block.
    for length, begins in ((111, b"fa9121c7b32b9e01"), (112, b"c01d080efd492776"), (128, b"b73d1929aa615934")):
        assert hexlify(ed25519.sha512(b"a" * length)[:8]) == begins, length
