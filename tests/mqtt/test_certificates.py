"""Certificates of the installation's own authority at the TLS door, made the way an operator makes them."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli.running import relevo
from tests.conformance.raw import CONNACK_OK, connect, publish
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

NOT_AUTHORIZED = b"\x20\x02\x00\x05"


def ca(data: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = relevo("ca", *arguments, "--data", str(data))
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


class Door:
    """A running server whose MQTTS door trusts its own authority."""

    def __init__(self, server: RunningServer, port: int) -> None:
        self.server = server
        self.data = server.data
        self.port = port

    def context(self, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.data / "authority" / "authority.pem"))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context

    def come(self, context: ssl.SSLContext, *packets: bytes) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), 5)
        tls = context.wrap_socket(raw, server_hostname="127.0.0.1")
        tls.sendall(b"".join(packets))
        return tls

    def answer(self, context: ssl.SSLContext, packet: bytes) -> bytes:
        with self.come(context, packet) as tls:
            return tls.recv(4)

    def reasons(self, device: str) -> dict[str, str]:
        items = self.server.api.get(f"/api/v1/devices/{device}/timeline").json()["items"]
        return {one["reason"]: one["detail"] for one in items}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    data = tmp_path_factory.mktemp("certificates") / "data"
    (port,) = free_ports(1)
    ca(data, "init")
    named = ca(data, "server", "127.0.0.1", "localhost").stdout
    assert 'tls_cert = "' in named
    files = {line.split(" = ")[0]: line.split('"')[1] for line in named.splitlines()}
    env = {
        "RELEVO_TLS_CERT": files["tls_cert"],
        "RELEVO_TLS_KEY": files["tls_key"],
        "RELEVO_MQTTS": f"127.0.0.1:{port}",
    }
    with RunningServer(data, env=env) as server:
        yield Door(server, port)


def issue(door: Door, device: str, place: Path, *, register: bool = True) -> tuple[str, Path, Path]:
    """The credential's id, certificate and key, from ``relevo ca issue``."""
    if register:
        door.server.register(device)
    ended = ca(door.data, "issue", device, "--out", str(place))
    return ended.stdout.strip(), place / f"{device}.pem", place / f"{device}.key"


def test_paho_with_an_issued_certificate_needs_no_password(door: Door, tmp_path: Path) -> None:
    _, certificate, key = issue(door, "lamp", tmp_path)
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "authority.pem").read_bytes() == (door.data / "authority" / "authority.pem").read_bytes()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "lamp", protocol=paho.MQTTv5)
    client.tls_set_context(door.context(certificate, key))
    client.connect("127.0.0.1", door.port)
    client.loop_start()
    try:
        client.publish("relevo/lamp/telemetry", '{"v": 1}', qos=1).wait_for_publish(5)
    finally:
        client.disconnect()
        client.loop_stop()
    assert door.server.api.get("/api/v1/devices/lamp/latest").json()["v"]["value"] == 1


def test_a_certificate_gives_the_topics_of_its_device_alone(door: Door, tmp_path: Path) -> None:
    _, certificate, key = issue(door, "own-topics", tmp_path)
    with door.come(door.context(certificate, key), connect("own-topics")) as tls:
        assert tls.recv(4) == CONNACK_OK
        tls.sendall(publish("relevo/lamp/telemetry", b'{"v": 9}', qos=1))
        assert tls.recv(4) == b"\x40\x02\x00\x01"
    eventually(lambda: "topic_not_allowed" in door.reasons("own-topics"))


def test_a_device_that_made_its_own_key_gets_its_request_signed(door: Door, tmp_path: Path) -> None:
    door.server.register("own-key")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "board.key").write_bytes(pem)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    (tmp_path / "board.csr").write_bytes(csr.public_bytes(Encoding.PEM))
    ca(door.data, "sign", "own-key", str(tmp_path / "board.csr"), "--out", str(tmp_path))
    assert not (tmp_path / "own-key.key").exists()
    context = door.context(tmp_path / "own-key.pem", tmp_path / "board.key")
    assert door.answer(context, connect("own-key")) == CONNACK_OK


def test_nothing_is_overwritten_and_nothing_is_left_of_what_was_refused(door: Door, tmp_path: Path) -> None:
    _, certificate, key = issue(door, "careful", tmp_path / "new" / "place")
    before = key.read_bytes()
    again = ca(door.data, "issue", "careful", "--out", str(certificate.parent), code=1)
    assert "careful.pem" in again.stderr
    assert key.read_bytes() == before
    issued = door.server.api.get("/api/v1/devices/careful/credentials").json()["items"]
    assert [one["kind"] for one in issued] == ["key", "certificate"]
    refused = ca(door.data, "issue", "unheard-of", "--out", str(tmp_path), code=1)
    assert "unheard-of" in refused.stderr
    assert not list(tmp_path.glob("unheard*"))


def test_revoking_a_certificate_ends_its_connections_and_is_named_from_then_on(door: Door, tmp_path: Path) -> None:
    first, certificate, key = issue(door, "revoked", tmp_path / "..")
    second, other, other_key = issue(door, "revoked", tmp_path, register=False)
    with (
        door.come(door.context(certificate, key), connect("r1")) as ended,
        door.come(door.context(other, other_key), connect("r2")) as stays,
    ):
        assert ended.recv(4) == stays.recv(4) == CONNACK_OK
        ca(door.data, "revoke", first)
        assert ended.recv(10) == b""
        stays.sendall(b"\xc0\x00")
        assert stays.recv(2) == b"\xd0\x00"
    assert door.answer(door.context(certificate, key), connect("r1")) == NOT_AUTHORIZED
    eventually(lambda: "certificate_revoked" in door.reasons("revoked"))
    assert door.answer(door.context(other, other_key), connect("r2")) == CONNACK_OK
    shown = ca(door.data, "show").stdout
    assert second in shown
    assert first not in shown
    assert "no certificate" in ca(door.data, "revoke", first, code=1).stderr


def test_a_certificate_of_one_device_with_the_user_name_of_another_is_refused(door: Door, tmp_path: Path) -> None:
    _, certificate, key = issue(door, "masked", tmp_path)
    context = door.context(certificate, key)
    assert door.answer(context, connect("m", user="lamp", password=b"x")) == NOT_AUTHORIZED
    eventually(lambda: "certificate_of_another" in door.reasons("masked"))
    assert door.answer(context, connect("m", user="masked")) == CONNACK_OK


def test_removing_a_device_ends_its_certificates_for_good(door: Door, tmp_path: Path) -> None:
    _, certificate, key = issue(door, "scrapped", tmp_path)
    with door.come(door.context(certificate, key), connect("s")) as tls:
        assert tls.recv(4) == CONNACK_OK
        assert door.server.api.delete("/api/v1/devices/scrapped").status_code == 204
        assert tls.recv(10) == b""
    door.server.register("scrapped")
    assert door.answer(door.context(certificate, key), connect("s")) == NOT_AUTHORIZED
    eventually(lambda: "certificate_revoked" in door.reasons("scrapped"))


def test_a_certificate_of_a_foreign_authority_does_not_even_speak(door: Door, tmp_path: Path) -> None:
    ca(tmp_path / "other", "init")
    from relevo.authority import Authority

    door.server.register("victim")
    import time

    issued = Authority(tmp_path / "other").issue("victim", 10, int(time.time() * 1000))
    (tmp_path / "c.pem").write_text(issued.certificate)
    (tmp_path / "c.key").write_text(issued.key)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        answer = door.answer(door.context(tmp_path / "c.pem", tmp_path / "c.key"), connect("victim"))
        assert answer == b"", "the door answered"
        raise ConnectionResetError


def test_a_key_still_works_over_tls_beside_certificates(door: Door) -> None:
    key = door.server.register("with-key")
    packet = connect("with-key", user="with-key", password=key.encode())
    assert door.answer(door.context(), packet) == CONNACK_OK


def test_the_api_issues_and_shows_the_private_key_once(door: Door) -> None:
    door.server.register("api")
    path = "/api/v1/devices/api/credentials"
    answer = door.server.api.post(f"{path}/certificates", json={"label": "hall"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["private_key"].startswith("-----BEGIN EC PRIVATE KEY-----")
    listed: list[dict[str, Any]] = door.server.api.get(path).json()["items"]
    (one,) = [item for item in listed if item["kind"] == "certificate"]
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert one["fingerprint"] == certificate.fingerprint(hashes.SHA256()).hex()
    assert "PRIVATE" not in door.server.api.get(path).text
    refused = door.server.api.post(f"{path}/certificates", json={"csr": "nonsense"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "csr"


def test_an_authority_made_while_the_server_runs_is_trusted_without_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ca(tmp_path / "servers", "init")
    ca(tmp_path / "servers", "server", "127.0.0.1")
    (port,) = free_ports(1)
    folder = tmp_path / "servers" / "authority"
    env = {
        "RELEVO_TLS_CERT": str(folder / "server.pem"),
        "RELEVO_TLS_KEY": str(folder / "server.key"),
        "RELEVO_MQTTS": f"127.0.0.1:{port}",
    }
    with RunningServer(data, env=env) as server:
        door = Door(server, port)
        key = server.register("early")
        answer = server.api.post("/api/v1/devices/early/credentials/certificates", json={})
        assert answer.status_code == 409
        assert "relevo ca init" in answer.json()["detail"]
        ca(data, "init")
        _, certificate, private = issue(door, "early", tmp_path, register=False)
        context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
        with door.come(context, connect("early", user="early", password=key.encode())) as tls:
            assert tls.recv(4) == CONNACK_OK
        context.load_cert_chain(certificate, private)

        def let_in() -> bool:
            with door.come(context, connect("early")) as tls:
                return tls.recv(4) == CONNACK_OK

        eventually(let_in, 15)
