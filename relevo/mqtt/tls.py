"""TLS for the MQTT door: versions 1.2 and 1.3, certificates that change without a restart, client certificates."""

import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from relevo.errors import ConfigurationError
from relevo.log import get_logger

log = get_logger("relevo.mqtt")

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module has no name for.
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)


class Certificate(NamedTuple):
    """A client's verified certificate: common names of subject and issuer, SHA-256 fingerprint (lower-case hex)."""

    common_name: str
    fingerprint: str
    issuer: str = ""


def certificate_of(ssl_object: Any) -> Certificate | None:
    """What the peer showed and an authority signed, ``None`` without one."""
    if ssl_object is None:
        return None
    raw = ssl_object.getpeercert(binary_form=True)
    parsed = ssl_object.getpeercert()
    if not raw or not parsed:
        return None
    return Certificate(_common_name(parsed, "subject"), sha256(raw).hexdigest(), _common_name(parsed, "issuer"))


def _common_name(parsed: dict[str, Any], whose: str) -> str:
    names = [value for entry in parsed.get(whose, ()) for key, value in entry if key == "commonName"]
    return names[0] if len(names) == 1 else ""


class AuthorityName:
    """The common name in an authority's file, read again when the file changes; empty while there is none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = 0
        self._name = ""

    def __call__(self) -> str:
        stamp = _changed_at(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            self._name = self._read() if stamp else ""
        return self._name

    def _read(self) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self._file)
        except (OSError, ssl.SSLError):
            return ""
        found: list[Any] = context.get_ca_certs()
        return _common_name(found[0], "subject") if len(found) == 1 else ""


def _changed_at(file: Path) -> int:
    """Nanoseconds; 0 when it cannot be read."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


class ServerTls:
    """The door's certificate. :meth:`reload_if_changed` serves a new one to whoever connects from then on."""

    def __init__(
        self, certificate: Path, key: Path, client_authority: Path | None, own_authority: Path | None = None
    ) -> None:
        """``own_authority`` need not exist yet; without a ``client_authority`` it is trusted from when it does.

        Raises :class:`ConfigurationError` when the files do not belong together or cannot be read.
        """
        self._certificate = certificate
        self._key = key
        self._authority = client_authority
        self._own = own_authority if client_authority is None else None
        self._seen = self._stamp()
        self._seen_authority = self._authority_stamp()
        self.context = self._build()

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the certificate {self._certificate} with key {self._key} cannot be used: {error}; "
                "both must be PEM and belong together"
            ) from error
        self._trust(context)
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        """Ask clients for certificates of the authority, if there is one. Raises :class:`ConfigurationError`."""
        authority = self._authority or (self._own if self._own is not None and self._own.exists() else None)
        if authority is None:
            return
        try:
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the authority {authority} for client certificates cannot be used: {error}; it must be PEM"
            ) from error
        context.verify_mode = ssl.CERT_OPTIONAL
        if self._authority is None:
            # One of our own is good for as long as its record says (doorkeeper); TLS would turn an expired one away
            # without a word of whose it is. Our authority signs no other authority, so nothing else goes unchecked.
            context.verify_flags |= _NO_CHECK_TIME

    def _stamp(self) -> tuple[int, int]:
        return _changed_at(self._certificate), _changed_at(self._key)

    def _authority_stamp(self) -> int:
        file = self._authority or self._own
        return _changed_at(file) if file is not None else 0

    def reload_if_changed(self) -> bool:
        """Take up changed files; what does not fit is told and the old goes on.

        An authority that takes another's place is trusted beside it until the next start.
        """
        taken = False
        stamp, authority = self._stamp(), self._authority_stamp()
        if stamp != self._seen and 0 not in stamp:
            self._seen = stamp
            try:
                self._build()
                self.context.load_cert_chain(self._certificate, self._key)
            except (ConfigurationError, OSError, ssl.SSLError) as error:
                log.error("certificate_not_taken", error=str(error))
            else:
                log.info("certificate_reloaded", file=str(self._certificate))
                taken = True
        if authority and authority != self._seen_authority:
            self._seen_authority = authority
            try:
                self._trust(self.context)
            except ConfigurationError as error:
                log.error("authority_not_taken", error=str(error))
            else:
                log.info("authority_reloaded", file=str(self._authority or self._own))
                taken = True
        return taken
