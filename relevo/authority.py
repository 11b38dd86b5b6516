"""A small certificate authority for the devices of one installation.

It lives in two files in the data directory, ``authority/authority.pem`` and ``authority/authority.key``, and keeps no
list of what it signed: a device's certificate is good for as long as its credential (kind ``certificate``, named by
fingerprint) is in the store, so revoking is deleting and there is no revocation list that somebody must fetch.

ECDSA on P-256 throughout: an ESP32 checks such a signature in tens of milliseconds and RSA-2048 keys take ten times
the flash and seconds to make. Everything that needs ``cryptography`` is imported when it is used, because most
installations never do and it costs a start 25 ms and 8 MB.
"""

import datetime
import ipaddress
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from relevo.errors import ConfigurationError, FieldError, Invalid
from relevo.files import write_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

FOLDER: Final = "authority"
CERTIFICATE_FILE: Final = "authority.pem"
KEY_FILE: Final = "authority.key"
AUTHORITY_DAYS: Final = 7_300
DEVICE_DAYS: Final = 1_095
DEVICE_DAYS_MOST: Final = 7_300
# Apple's and Google's limit for certificates that clients still believe.
SERVER_DAYS: Final = 398
CSR_BYTES: Final = 16_384
# A board whose clock is somewhat slow takes a fresh certificate all the same.
_BACKDATED: Final = datetime.timedelta(minutes=10)
_HOST: Final = re.compile(r"(\*\.)?((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_RSA_BITS: Final = (2_048, 4_096)


class Issued(NamedTuple):
    """A certificate in PEM; ``key`` is empty when the device keeps its own. ``expires_at`` in milliseconds UTC."""

    certificate: str
    key: str
    fingerprint: str
    expires_at: int


class Described(NamedTuple):
    """What people need to know of the authority; times in milliseconds UTC."""

    name: str
    fingerprint: str
    created_at: int
    expires_at: int
    pem: str


class Authority:
    """The authority in a data directory, which need not exist yet."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.certificate_file = self.folder / CERTIFICATE_FILE
        self.key_file = self.folder / KEY_FILE

    @property
    def exists(self) -> bool:
        return self.certificate_file.exists()

    def create(self, now_ms: int) -> Described:
        """Make the authority. Raises :class:`ConfigurationError` when there is one, or nothing can be written."""
        if self.certificate_file.exists() or self.key_file.exists():
            raise ConfigurationError(
                f"there is an authority in {self.folder} already; a new one would end the trust in every certificate "
                "of the old one, so move that folder away yourself if this is meant"
            )
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        # A number, so that two installations are never taken for each other.
        name = x509.Name([_name(f"Relevo authority {secrets.token_hex(4)}")])
        begin, end = _span(now_ms, AUTHORITY_DAYS)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The key first: a certificate without its key would be trusted and could issue nothing.
            write_file(self.key_file, _key_pem(key).encode(), 0o600, new=True)
            write_file(self.certificate_file, _pem(certificate).encode(), 0o644, new=True)
        except OSError as error:
            raise ConfigurationError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        return self.describe()

    def describe(self) -> Described:
        """Raises :class:`ConfigurationError` when there is no authority."""
        from cryptography import x509

        certificate = self._certificate()
        found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return Described(
            str(found[0].value) if found else "",
            _fingerprint(certificate),
            _ms(certificate.not_valid_before_utc),
            _ms(certificate.not_valid_after_utc),
            _pem(certificate),
        )

    def issue(self, device: str, days: int, now_ms: int) -> Issued:
        """A client certificate for ``device`` with a new private key, which is kept nowhere."""
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(device, key.public_key(), days, now_ms)._replace(key=_key_pem(key))

    def sign(self, device: str, csr: str, days: int, now_ms: int) -> Issued:
        """A client certificate for ``device`` over the public key of a request in PEM.

        Of the request only the key is taken: what it says about itself proves nothing. Raises :class:`Invalid`.
        """
        return self._sign(device, _public_key_of(csr), days, now_ms)

    def issue_server(self, names: list[str], days: int, now_ms: int) -> Issued:
        """A server certificate for host names and addresses. Raises :class:`Invalid` for what is neither."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        if not names:
            raise _refused("name_missing", "names", "names must have at least one host name or address")
        alternatives = [_alternative(name) for name in names]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(names[0][:64], key.public_key(), days, now_ms)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return self._issued(builder)._replace(key=_key_pem(key))

    def _sign(self, device: str, public_key: Any, days: int, now_ms: int) -> Issued:
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID

        builder = self._builder(device, public_key, days, now_ms)
        return self._issued(
            builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )

    def _builder(self, common_name: str, public_key: Any, days: int, now_ms: int) -> "x509.CertificateBuilder":
        """What certificates of devices and servers have in common (RFC 5280, section 4.2.1)."""
        from cryptography import x509

        authority = self._certificate()
        begin, end = _span(now_ms, days)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([_name(common_name)]))
            .issuer_name(authority.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            # Nothing outlives what it hangs from.
            .not_valid_after(min(end, authority.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )

    def _issued(self, builder: "x509.CertificateBuilder") -> Issued:
        from cryptography.hazmat.primitives import hashes

        certificate = builder.sign(self._key(), hashes.SHA256())
        return Issued(_pem(certificate), "", _fingerprint(certificate), _ms(certificate.not_valid_after_utc))

    def _certificate(self) -> "x509.Certificate":
        from cryptography import x509

        try:
            return x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(f"no authority in {self.folder}: make one with `relevo ca init`") from None
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{self.certificate_file} cannot be read: {error}; restore it from a backup"
            ) from error

    def _key(self) -> "ec.EllipticCurvePrivateKey":
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key_file.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{self.key_file} cannot be read: {error}; restore it from a backup") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self.key_file} holds no elliptic curve key; restore it from a backup")
        return key


def _public_key_of(csr: str) -> Any:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if len(csr) > CSR_BYTES:
        raise _refused("csr_too_large", "csr", f"csr must have at most {CSR_BYTES} characters")
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise _refused(
            "csr_unreadable", "csr", "csr must be a PKCS#10 request in PEM, -----BEGIN CERTIFICATE REQUEST-----"
        ) from None
    if not signed:
        raise _refused("csr_unsigned", "csr", "csr must be signed with the key that is in it")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]:
        return key
    raise _refused("csr_key", "csr", "csr must hold a key on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits")


def _alternative(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if len(name) > 253 or not _HOST.fullmatch(name):
            raise _refused("name_invalid", "names", f"names: {name[:80]!r} is no host name and no address") from None
        return x509.DNSName(name)


def _name(common_name: str) -> "x509.NameAttribute[str]":
    from cryptography import x509

    return x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)


def _usage(**allowed: bool) -> "x509.KeyUsage":
    from cryptography import x509

    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _span(now_ms: int, days: int) -> tuple[datetime.datetime, datetime.datetime]:
    now = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    return now - _BACKDATED, now + datetime.timedelta(days=days)


def _ms(time: datetime.datetime) -> int:
    return int(time.timestamp()) * 1000


def _fingerprint(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()


def _pem(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: "ec.EllipticCurvePrivateKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    # "EC PRIVATE KEY" is what the older mbedTLS on many boards still asks for.
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _refused(reason: str, field: str, message: str) -> Invalid:
    return Invalid(reason, message, [FieldError(field, message, reason)])
