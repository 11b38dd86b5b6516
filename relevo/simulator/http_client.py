"""HTTP/1.1 over one kept connection: enough to sign in, register devices and read back what was stored."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from relevo.errors import RelevoError

_MAX_BODY = 64 * 1024 * 1024
_HEADER_LIMIT = 256 * 1024


class HttpFailed(RelevoError):
    """The server cannot be reached, does not speak HTTP/1.1, or gave an answer that was not asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and decoded body (``None`` when it is empty, text when it is not JSON)."""

    status: int
    body: Any

    def expect(self, *statuses: int) -> Any:
        """The body, when the status is one of these. Raises :class:`HttpFailed` with the server's words."""
        if self.status in statuses:
            return self.body
        detail = self.body.get("detail", self.body) if isinstance(self.body, dict) else self.body
        raise HttpFailed(f"the server answered {self.status}: {detail}")


class HttpClient:
    """One connection to ``base`` (``http://host:port`` or ``https://…``); requests wait for each other.

    ``timeout`` in seconds covers a whole request.
    """

    def __init__(self, base: str, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HttpFailed(f"not an HTTP address: {base!r}")
        self.token = ""
        self.headers: dict[str, str] = {}
        self._netloc = parts.netloc
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._root = parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def stranger(self) -> "HttpClient":
        """A connection to the same server that shows no credential."""
        base = f"{'https' if self._tls else 'http'}://{self._netloc}{self._root}"
        return HttpClient(base, timeout=self._timeout, tls=self._tls)

    def close(self) -> None:
        """Drop the connection; the next request opens a new one."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def login(self, username: str, password: str) -> None:
        """Sign in and keep the bearer token. Raises :class:`HttpFailed` when the credentials are refused."""
        answer = await self.post("/api/v1/auth/login", {"username": username, "password": password})
        self.token = str(answer.expect(200)["access_token"])

    async def get(self, path: str, query: Mapping[str, object] | None = None) -> Answer:
        """GET; repeated once when the kept connection turns out to be closed."""
        return await self.request("GET", path + ("?" + urlencode(query) if query else ""))

    async def post(self, path: str, body: object) -> Answer:
        """POST a JSON body."""
        return await self.request("POST", path, body)

    async def put(self, path: str, body: object) -> Answer:
        """PUT a JSON body."""
        return await self.request("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path)

    async def request(self, method: str, path: str, body: object = None) -> Answer:
        """One request; ``body`` is JSON already when it is bytes.

        Raises :class:`HttpFailed` when there is no answer within the timeout.
        """
        async with self._turn:
            kept = self._streams is not None
            try:
                return await self._exchange(method, path, body)
            except (OSError, EOFError) as error:
                self.close()
                if not (kept and method == "GET"):
                    raise HttpFailed(f"{method} {path}: {error or 'connection closed'}") from error
            except BaseException:
                self.close()
                raise
            try:
                return await self._exchange(method, path, body)
            except (OSError, EOFError) as error:
                self.close()
                raise HttpFailed(f"{method} {path}: {error or 'connection closed'}") from error

    async def _exchange(self, method: str, path: str, body: object) -> Answer:
        async with asyncio.timeout(self._timeout):
            if self._streams is None:
                self._streams = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls, limit=_HEADER_LIMIT
                )
            reader, writer = self._streams
            payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            head = [f"{method} {self._root}{path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
            head += [f"Content-Length: {len(payload)}", "Accept: application/json"]
            if payload:
                head.append("Content-Type: application/json")
            if self.token:
                head.append(f"Authorization: Bearer {self.token}")
            head += [f"{name}: {value}" for name, value in self.headers.items()]
            writer.write(("\r\n".join(head) + "\r\n\r\n").encode() + payload)
            await writer.drain()
            status, headers = await self._head(reader)
            raw = await self._body(reader, status, headers)
            if headers.get("connection", "").lower() == "close":
                self.close()
        return Answer(status, _decoded(raw))

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise HttpFailed(f"not an HTTP answer: {lines[0]!r}")
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        return int(words[1]), {name.lower(): value.strip() for name, value in pairs}

    async def _body(self, reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            whole = bytearray()
            while size := int((await reader.readline()).split(b";")[0], 16):
                if len(whole) + size > _MAX_BODY:
                    raise HttpFailed(f"the answer is larger than {_MAX_BODY} bytes")
                whole += await reader.readexactly(size)
                await reader.readexactly(2)
            while await reader.readline() not in (b"\r\n", b""):
                pass
            return bytes(whole)
        size = int(headers.get("content-length", "0"))
        if size > _MAX_BODY:
            raise HttpFailed(f"the answer is larger than {_MAX_BODY} bytes")
        return await reader.readexactly(size)


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")
