"""Ed25519 verification (RFC 8032, section 5.1.7) for ports that have none. Loaded only where a public key is pinned."""

from binascii import unhexlify

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, P - 2, P) % P
_ROOT = pow(2, (P - 1) // 4, P)
_M = (1 << 64) - 1
# The constants of SHA-512 (FIPS 180-4, section 4.2.3), 8 bytes each: as bytes they cost no objects.
_K = unhexlify(
    b"428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b53859f111f1b605d019923f82a4af194f9b"
    b"ab1c5ed5da6d8118d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b1"
    b"9bdc06a725c71235c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c652de92c6f592b0275"
    b"4a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4"
    b"c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed"
    b"53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353ba2bfe8a14cf10364a81a664bbc423001"
    b"c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b819a4c116b8d2d0c8"
    b"1e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
    b"748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915"
    b"c67178f2e372532bca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6"
    b"113f9804bef90dae1b710b35131c471b28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c4cc5d4becb3e42b6"
    b"597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
)


def sha512(data):
    """SHA-512 (FIPS 180-4) of ``data``; boards' ``hashlib`` ends at SHA-256."""
    length = len(data)
    data = bytes(data) + b"\x80" + bytes((111 - length) % 128) + (length * 8).to_bytes(16, "big")
    h = [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ]
    w = [0] * 16
    for at in range(0, len(data), 128):
        for i in range(16):
            w[i] = int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "big")
        a, b, c, d, e, f, g, k = h
        for i in range(80):
            j = i & 15
            if i >= 16:
                x, y = w[(i + 1) & 15], w[(i + 14) & 15]
                s0 = (x >> 1 | x << 63) ^ (x >> 8 | x << 56) ^ (x >> 7)
                s1 = (y >> 19 | y << 45) ^ (y >> 61 | y << 3) ^ (y >> 6)
                w[j] = (w[j] + (s0 & _M) + w[(i + 9) & 15] + (s1 & _M)) & _M
            s1 = ((e >> 14 | e << 50) ^ (e >> 18 | e << 46) ^ (e >> 41 | e << 23)) & _M
            t = k + s1 + (g ^ (e & (f ^ g))) + int.from_bytes(_K[8 * i : 8 * i + 8], "big") + w[j]
            s0 = ((a >> 28 | a << 36) ^ (a >> 34 | a << 30) ^ (a >> 39 | a << 25)) & _M
            u = s0 + ((a & b) ^ (a & c) ^ (b & c))
            k, g, f, e, d, c, b, a = g, f, e, (d + t) & _M, c, b, a, (t + u) & _M
        h = [(x + y) & _M for x, y in zip(h, (a, b, c, d, e, f, g, k))]  # noqa: B905 - MicroPython knows no strict=
    return b"".join(x.to_bytes(8, "big") for x in h)


def _add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * _D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(p):
    a = p[0] * p[0] % P
    b = p[1] * p[1] % P
    c = 2 * p[2] * p[2] % P
    h = a + b
    e = h - (p[0] + p[1]) * (p[0] + p[1])
    g = a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _point(data):
    """The point that 32 bytes mean, ``None`` when they mean none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    xx = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * _ROOT % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def verify(public, signature, message):
    """Whether ``signature`` (64 bytes) of ``message`` was made with the key of ``public`` (32 bytes)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key = _point(public)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= L:
        return False
    h = int.from_bytes(sha512(signature[:32] + public + message), "little") % L
    base = _point(bytes([0x58] + [0x66] * 31))
    minus = (P - key[0], key[1], 1, P - key[3])
    both = _add(base, minus)
    # sB - hA, both at once (Straus).
    found = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        found = _double(found)
        which = (s >> bit & 1) | (h >> bit & 1) << 1
        if which:
            found = _add(found, (None, base, minus, both)[which])
    z = pow(found[2], P - 2, P)
    x, y = found[0] * z % P, found[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]
