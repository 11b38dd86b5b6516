"""TLS for the MQTT door: versions 1.2 and 1.3, certificates that change without a restart, client certificates."""

import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from relevo.errors import ConfigurationError
from relevo.log import get_logger

log = get_logger("relevo.mqtt")


class Certificate(NamedTuple):
    """A client's verified certificate: its common name and SHA-256 fingerprint (lower-case hexadecimal)."""

    common_name: str
    fingerprint: str


def certificate_of(ssl_object: Any) -> Certificate | None:
    """What the peer showed and the authority signed, ``None`` without one."""
    if ssl_object is None:
        return None
    raw = ssl_object.getpeercert(binary_form=True)
    parsed = ssl_object.getpeercert()
    if not raw or not parsed:
        return None
    names = [value for entry in parsed.get("subject", ()) for key, value in entry if key == "commonName"]
    return Certificate(names[0] if len(names) == 1 else "", sha256(raw).hexdigest())


class ServerTls:
    """The door's certificate. :meth:`reload_if_changed` serves a new one to whoever connects from then on."""

    def __init__(self, certificate: Path, key: Path, client_authority: Path | None) -> None:
        """Raises :class:`ConfigurationError` when the files do not belong together or cannot be read."""
        self._certificate = certificate
        self._key = key
        self._authority = client_authority
        self._seen = self._stamp()
        self.context = self._build()

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key)
            if self._authority is not None:
                context.load_verify_locations(self._authority)
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the certificate {self._certificate} with key {self._key} cannot be used: {error}; "
                "both must be PEM and belong together"
            ) from error
        return context

    def _stamp(self) -> tuple[int, int]:
        try:
            return self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns
        except OSError:
            return 0, 0

    def reload_if_changed(self) -> bool:
        """Take up changed files; a pair that does not fit is told and the old one goes on."""
        stamp = self._stamp()
        if stamp == self._seen or 0 in stamp:
            return False
        self._seen = stamp
        try:
            self._build()
            self.context.load_cert_chain(self._certificate, self._key)
        except (ConfigurationError, OSError, ssl.SSLError) as error:
            log.error("certificate_not_taken", error=str(error))
            return False
        log.info("certificate_reloaded", file=str(self._certificate))
        return True
