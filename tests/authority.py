"""A certificate authority for tests of TLS, made with the openssl command."""

import shutil
import subprocess
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=60)


class Authority:
    """Issues certificates from a new directory ``place``; they are good for two days."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem", cwd=place)  # fmt: skip

    @property
    def file(self) -> Path:
        return self.place / "ca.pem"

    def issue(self, name: str, file: str) -> tuple[Path, Path]:
        """A certificate for ``name`` that is also good for 127.0.0.1."""
        (self.place / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{file}.key", "-out", f"{file}.csr", cwd=self.place)  # fmt: skip
        run("openssl", "x509", "-req", "-in", f"{file}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", f"{file}.pem", cwd=self.place)  # fmt: skip
        return self.place / f"{file}.pem", self.place / f"{file}.key"
