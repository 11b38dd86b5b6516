"""What runs in the sending process: a request a line on standard input, an answer a line on standard output.

``{"id", "to": {"kind", "url"}, "mail": {"url", "from"}, "message"}`` is answered by ``{"id", "ok", "detail",
"permanent"}``. Several are worked on at once, because one service that hangs may hold up no other.
"""

import json
import logging
import re
import smtplib
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from relevo.sending.letters import Letter, write

AT_ONCE: Final = 8
_SMTP_S: Final = 10.0
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# Answers of an HTTP service after which the same message to the same address is no use.
_PERMANENT: Final = frozenset({400, 401, 403, 404, 405, 410, 413, 422})
_CODE: Final = re.compile(r"error\s*=\s*([0-9]{3})")
# apprise 2 limits attempts and follows no redirect unless a URL asks; so it is here for every URL.
_MARKS: Final = {"info": "info", "warning": "warning", "critical": "failure"}


class Failed(Exception):
    """Not sent; ``permanent`` when trying again is no use."""

    def __init__(self, detail: str, *, permanent: bool) -> None:
        super().__init__(detail)
        self.permanent = permanent


class _Said(logging.Handler):
    """What apprise says while one thread sends."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._of = threading.local()

    def begin(self) -> None:
        self._of.lines = []

    def lines(self) -> list[str]:
        found: list[str] = getattr(self._of, "lines", [])
        return found

    def emit(self, record: logging.LogRecord) -> None:
        self.lines().append(record.getMessage())


_said: Final = _Said()


def mail(server: dict[str, str], to: str, letter: Letter) -> None:
    """Send ``letter`` (RFC 5322, multipart/alternative) by SMTP. Raises :class:`Failed`.

    TLS from the start for ``smtps``; for ``smtp`` STARTTLS where the server offers it, and always before a password
    leaves this machine.
    """
    parts = urlsplit(server["url"])
    host = parts.hostname or ""
    message = EmailMessage()
    message["Subject"] = letter.title
    message["From"] = server["from"]
    message["To"] = to
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=server["from"].rpartition("@")[2])
    # RFC 3834, so that no answering machine answers.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    context = ssl.create_default_context()
    try:
        if parts.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=_SMTP_S, context=context)
        else:
            client = smtplib.SMTP(host, parts.port or 587, timeout=_SMTP_S)
        with client:
            client.ehlo()
            secure = parts.scheme == "smtps"
            if not secure and client.has_extn("starttls"):
                client.starttls(context=context)
                client.ehlo()
                secure = True
            if parts.username:
                if not secure and host not in _LOOPBACK:
                    raise Failed("the mail server offers no TLS, and the password is not sent without", permanent=False)
                client.login(unquote(parts.username), unquote(parts.password or ""))
            client.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise Failed(_smtp_said(code, text), permanent=code >= 500) from None
    except smtplib.SMTPAuthenticationError as error:
        # The administrator's to mend, so it is worth trying again.
        raise Failed(f"the mail server refused our sign-in: {_smtp_said(error.smtp_code, error.smtp_error)}",
                     permanent=False) from None  # fmt: skip
    except smtplib.SMTPResponseException as error:
        raise Failed(_smtp_said(error.smtp_code, error.smtp_error), permanent=error.smtp_code >= 500) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Failed(f"the mail server {host} cannot be reached: {_short(error)}", permanent=False) from None


def apprise(url: str, letter: Letter, severity: str) -> None:
    """Send ``letter`` through the service that ``url`` names. Raises :class:`Failed`."""
    import apprise as library

    asset = library.AppriseAsset(app_id="Relevo", app_desc="Relevo", storage_mode="memory")
    if url.startswith("ntfy://") and re.fullmatch(r"ntfy://[A-Za-z0-9_-]{1,64}", url):
        # So that a topic is never taken for a host.
        url = f"ntfys://{url.removeprefix('ntfy://')}?mode=cloud"
    _said.begin()
    service = library.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        raise Failed("no service takes this URL: " + ("; ".join(_said.lines()) or "look at its form"), permanent=True)
    # A digest cut by us is better than one that the service refuses whole.
    service.overflow_mode = library.OverflowMode.TRUNCATE
    _said.begin()
    if service.notify(body=letter.text, title=letter.title, notify_type=_MARKS[severity]):
        return
    said = "; ".join(_said.lines()) or "the service did not take it, and did not say why"
    found = _CODE.search(said)
    raise Failed(said, permanent=found is not None and int(found[1]) in _PERMANENT)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    to = request["to"]
    try:
        letter = write(request["message"])
        if to["kind"] == "email":
            if not request["mail"]["url"]:
                raise Failed("no mail server is set: notifications.smtp_url", permanent=False)
            mail(request["mail"], to["url"], letter)
        else:
            severities = [one["severity"] for one in request["message"]["notices"]] or ["info"]
            severest = max(severities, key=("info", "warning", "critical").index)
            apprise(to["url"], letter, severest)
    except Failed as error:
        return {"id": request["id"], "ok": False, "detail": str(error)[:500], "permanent": error.permanent}
    except Exception as error:
        return {"id": request["id"], "ok": False, "detail": _short(error), "permanent": False}
    return {"id": request["id"], "ok": True, "detail": "", "permanent": False}


def main() -> None:
    """Answer requests until standard input ends."""
    logger = logging.getLogger("apprise")
    logger.addHandler(_said)
    logger.propagate = False
    # Answers have standard output to themselves, whatever a library prints.
    answers, sys.stdout = sys.stdout, sys.stderr
    turn = threading.Lock()

    def answer(line: bytes) -> None:
        text = json.dumps(work(json.loads(line)))
        with turn:
            print(text, file=answers, flush=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in sys.stdin.buffer:
            pool.submit(answer, line)


def _smtp_said(code: int, text: bytes | str) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"the mail server said {code} {' '.join(said.split())[:300]}"


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


if __name__ == "__main__":
    main()
