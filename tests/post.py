"""Where notices arrive in tests: a mail server and a web hook, each a real one on 127.0.0.1."""

import json
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.running import free_ports


class MailServer:
    """Keeps what it takes; ``refuse`` is what it says to every recipient instead."""

    def __init__(self) -> None:
        self.refuse = ""
        self.attempts = 0
        self._mails: list[tuple[list[str], EmailMessage]] = []
        self._changed = threading.Condition()
        (self.port,) = free_ports(1)
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        with self._changed:
            self._mails.append((list(envelope.rcpt_tos), mail))
            self._changed.notify_all()
        return "250 OK"

    @property
    def mails(self) -> list[EmailMessage]:
        with self._changed:
            return [mail for _, mail in self._mails]

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def wait(self, count: int, seconds: float = 20.0) -> list[EmailMessage]:
        """The mails, once there are ``count``."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._mails) >= count, seconds), self.subjects
        return self.mails

    def wait_attempts(self, count: int, seconds: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.attempts >= count, seconds), self.attempts

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


class WebHook:
    """Keeps every JSON body it is sent; ``answer`` says with which status, and may take its time."""

    def __init__(self, answer: Callable[[dict[str, Any]], int] = lambda _: 200) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with hook.changed:
                    hook.bodies.append(body)
                    hook.changed.notify_all()
                self.send_response(answer(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def titles(self) -> list[str]:
        with self.changed:
            return [one["title"] for one in self.bodies]

    def wait(self, count: int, seconds: float = 20.0) -> list[str]:
        """The titles, once there are ``count``."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, seconds), self.bodies
        return self.titles

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
