"""``relevo ca`` where no server runs; with one it is in tests/mqtt/test_certificates.py."""

from pathlib import Path

from tests.cli.running import complaint, relevo


def test_init_makes_an_authority_once_and_show_shows_it(tmp_path: Path) -> None:
    first = relevo("ca", "init", "--data", str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Relevo authority ")
    assert "relevo ca server" in first.stderr
    shown = relevo("ca", "show", "--data", str(tmp_path))
    assert shown.returncode == 0
    assert shown.stdout == first.stdout
    assert "no Relevo runs on" in shown.stderr
    assert "already" in complaint(relevo("ca", "init", "--data", str(tmp_path)), 1)


def test_what_needs_the_server_says_so(tmp_path: Path) -> None:
    csr = tmp_path / "a.csr"
    csr.write_text("x")
    for command in (["issue", "lamp"], ["sign", "lamp", str(csr)], ["revoke", "abc"]):
        text = complaint(relevo("ca", *command, "--out", str(tmp_path), "--data", str(tmp_path))
                         if command[0] != "revoke" else relevo("ca", *command, "--data", str(tmp_path)), 1)  # fmt: skip
        assert "relevo serve --data" in text


def test_without_an_authority_the_way_to_one_is_told(tmp_path: Path) -> None:
    for command in (["show"], ["server", "localhost"]):
        assert "relevo ca init" in complaint(relevo("ca", *command, "--data", str(tmp_path)), 1)


def test_a_server_certificate_is_renewed_in_place(tmp_path: Path) -> None:
    relevo("ca", "init", "--data", str(tmp_path))
    first = relevo("ca", "server", "relevo.lan", "10.0.0.1", "--data", str(tmp_path))
    assert first.returncode == 0, first.stderr
    file, key = tmp_path / "authority" / "server.pem", tmp_path / "authority" / "server.key"
    assert first.stdout == f'tls_cert = "{file}"\ntls_key = "{key}"\n'
    # Both doors show it; there is nothing to put in front.
    assert "0.0.0.0:8883" in first.stderr and "0.0.0.0:8443" in first.stderr
    assert "plain" not in first.stderr
    before = file.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert relevo("ca", "server", "relevo.lan", "--data", str(tmp_path)).returncode == 0
    assert file.read_bytes() != before
    assert "no host name" in complaint(relevo("ca", "server", "not a name", "--data", str(tmp_path)), 1)


def test_a_missing_request_is_named(tmp_path: Path) -> None:
    ended = relevo("ca", "sign", "lamp", str(tmp_path / "no.csr"), "--data", str(tmp_path))
    assert "no.csr" in complaint(ended, 1)
