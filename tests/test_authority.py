"""The small authority: what it signs, what it refuses to sign, and what lies on the disk."""

import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from relevo.authority import Authority, Issued
from relevo.errors import ConfigurationError, Invalid

NOW = 1_795_000_000_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    one = Authority(tmp_path_factory.mktemp("data"))
    one.create(NOW)
    return one


def parsed(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate.encode())


def request(key: object, name: str = "somebody else") -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()  # type: ignore[arg-type]


def extended(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_only_its_owner_reads_the_key_and_there_is_never_a_second_authority(tmp_path: Path) -> None:
    one = Authority(tmp_path)
    assert not one.exists
    made = one.create(NOW)
    assert one.exists
    assert stat.S_IMODE(one.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    assert one.describe() == made
    with pytest.raises(ConfigurationError, match="already"):
        one.create(NOW)
    assert one.describe() == made


def test_what_is_missing_or_damaged_is_told_with_what_to_do(tmp_path: Path) -> None:
    one = Authority(tmp_path)
    with pytest.raises(ConfigurationError, match="relevo ca init"):
        one.describe()
    one.create(NOW)
    one.key_file.write_text("nonsense")
    with pytest.raises(ConfigurationError, match="backup"):
        one.issue("lamp", 1, NOW)
    one.certificate_file.write_text("nonsense")
    with pytest.raises(ConfigurationError, match="backup"):
        one.describe()


def test_the_authority_may_sign_devices_and_no_further_authorities(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.describe().pem.encode())
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    root.verify_directly_issued_by(root)


def test_a_device_certificate_is_a_clients_and_names_the_device(authority: Authority) -> None:
    issued = authority.issue("lamp", 10, NOW)
    certificate = parsed(issued)
    root = x509.load_pem_x509_certificate(authority.describe().pem.encode())
    certificate.verify_directly_issued_by(root)
    assert certificate.subject.rfc4514_string() == "CN=lamp"
    assert extended(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert issued.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert issued.expires_at == NOW + 10 * DAY_MS
    assert issued.expires_at == int(certificate.not_valid_after_utc.timestamp()) * 1000
    key = load_pem_private_key(issued.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate.public_key()


def test_nothing_outlives_the_authority(authority: Authority) -> None:
    assert authority.issue("lamp", 7_300, NOW + 300 * DAY_MS).expires_at == authority.describe().expires_at


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()),
     ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65_537, 2_048)],
    ids=["p256", "p384", "ed25519", "rsa2048"],
)  # fmt: skip
def test_of_a_request_only_the_key_is_taken(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    issued = authority.sign("lamp", request(key, "admin"), 10, NOW)
    certificate = parsed(issued)
    assert issued.key == ""
    assert certificate.subject.rfc4514_string() == "CN=lamp"
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (ec.generate_private_key(ec.SECP224R1()), "csr_key"),
        (rsa.generate_private_key(65_537, 1_024), "csr_key"),
        (dsa.generate_private_key(2_048), "csr_key"),
    ],
    ids=["p224", "rsa1024", "dsa"],
)
def test_weak_keys_are_refused(authority: Authority, key: object, reason: str) -> None:
    with pytest.raises(Invalid) as problem:
        authority.sign("lamp", request(key), 10, NOW)
    assert problem.value.reason == reason
    assert problem.value.errors[0].field == "csr"


def test_a_request_that_somebody_changed_is_refused(authority: Authority) -> None:
    text = request(ec.generate_private_key(ec.SECP256R1()), "A" * 40)
    der = x509.load_pem_x509_csr(text.encode()).public_bytes(Encoding.DER).replace(b"A" * 40, b"B" * 40)
    import base64

    pem = base64.encodebytes(der).decode()
    with pytest.raises(Invalid) as problem:
        authority.sign(
            "lamp", f"-----BEGIN CERTIFICATE REQUEST-----\n{pem}-----END CERTIFICATE REQUEST-----\n", 10, NOW
        )
    assert problem.value.reason == "csr_unsigned"


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda data: data.decode("latin-1"))))
def test_rubbish_is_no_request(authority: Authority, text: str) -> None:
    for body in (text, f"-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n"):
        with pytest.raises(Invalid) as problem:
            authority.sign("lamp", body, 10, NOW)
        assert problem.value.reason == "csr_unreadable"


def test_a_request_of_a_megabyte_is_not_parsed(authority: Authority) -> None:
    with pytest.raises(Invalid, match="16384"):
        authority.sign("lamp", "x" * 1_000_000, 10, NOW)


def test_a_server_certificate_is_a_servers_and_holds_names_and_addresses(authority: Authority) -> None:
    certificate = parsed(authority.issue_server(["relevo.lan", "192.168.1.5", "::1", "*.example.org"], 30, NOW))
    assert extended(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["relevo.lan", "*.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("192.168.1.5"),
        ipaddress.ip_address("::1"),
    ]


@pytest.mark.parametrize(
    "name", ["", "-a.b", "a..b", "http://x", "a b", "a/b", "x" * 64, "ü.de", "a.*.b", "a_b", "a\n"]
)
def test_what_is_no_host_name_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises(Invalid) as problem:
        authority.issue_server([name], 30, NOW)
    assert problem.value.errors[0].field == "names"
