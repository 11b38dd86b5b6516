"""Speaking to the server that runs on this machine over its HTTP API, for commands that change something.

At its start the server writes ``local.json`` into the data directory, readable by its owner alone: where HTTP listens
and a key that lives as long as the process. Whoever can read the data directory is the operator already, so a command
needs no password. The server stays the only writer of its store.
"""

import contextlib
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from relevo.errors import Conflict, Forbidden, Invalid, NotFound, RelevoError, Unauthenticated
from relevo.files import write_file

FILE: Final = "local.json"
_TIMEOUT_S: Final = 20.0
_STREAM_S: Final = 660.0
_KINDS: Final[dict[int, type[RelevoError]]] = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict}


class NotRunning(RelevoError):
    """No server runs on this data directory; the text says what to do."""


class Failed(RelevoError):
    """The server answered with an error of its own."""


def announce(data: Path, host: str, port: int, key: str) -> None:
    """Write ``local.json``: HTTP listens on ``host`` (an address to bind) and ``port``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
    file = data / FILE
    fresh = data / f"{FILE}.new"
    write_file(fresh, json.dumps({"http": url, "key": key}).encode())
    # Whole or not at all: a command may read at any moment.
    fresh.replace(file)


def withdraw(data: Path) -> None:
    """Remove ``local.json``; harmless when it is gone."""
    with contextlib.suppress(OSError):
        (data / FILE).unlink()


class LocalServer:
    """The server of one data directory."""

    def __init__(self, data: Path) -> None:
        """Raises :class:`NotRunning`."""
        self._data = data
        try:
            found = json.loads((data / FILE).read_bytes())
            self.url = str(found["http"])
            self._key = str(found["key"])
        except FileNotFoundError:
            raise self._not_running() from None
        except PermissionError:
            raise NotRunning(f"{data / FILE} belongs to another user: run this as the user that runs Relevo") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotRunning(f"{data / FILE} cannot be read ({error}): start Relevo again") from None

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer of ``GET path``. Raises as :meth:`ask`."""
        text = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        return self.ask("GET", f"{path}?{text}" if text else path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.ask("POST", path, body)

    def delete(self, path: str) -> Any:
        return self.ask("DELETE", path)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer, ``None`` for an empty one.

        Raises :class:`NotRunning` when nobody answers, :class:`Invalid`, :class:`NotFound` … with the server's own
        words, and :class:`Failed` for what has no name here.
        """
        # Commands ask; the server, which only announces itself, need not carry a client.
        import http.client
        import urllib.error
        import urllib.request

        request = urllib.request.Request(  # noqa: S310 - the address is the server's own
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            method=method,
        )
        # A proxy from the environment does not know this machine's loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                data = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise _error(error.code, error.read()) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._not_running(f" ({getattr(error, 'reason', error)})") from None
        return json.loads(data) if data else None

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: "bytes | Iterator[bytes]",
        query: Mapping[str, Any] | None = None,
        accept: str = "*/*",
    ) -> Iterator[Any]:
        """An answer to be read piece by piece (``http.client.HTTPResponse``) of a body that may come piece by piece.

        Raises as :meth:`ask`, and :class:`Failed` for an answer that ends early, inside the context.
        """
        import http.client

        where = urllib.parse.urlsplit(self.url)
        chunked = not isinstance(body, bytes)
        given = {name: value for name, value in (query or {}).items() if value != ""}
        text = urllib.parse.urlencode(given, doseq=True)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_STREAM_S)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Accept": accept}
        if chunked:
            headers |= {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        try:
            # A server that refuses answers before it has read all.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"{path}?{text}" if text else path, body, headers, encode_chunked=chunked)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _error(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._not_running(f" ({error})") from None
        except BaseException:
            connection.close()
            raise
        try:
            yield answer
        except http.client.HTTPException as error:
            raise Failed(f"the answer ended early ({type(error).__name__}): what came is not whole") from None
        finally:
            connection.close()

    def _not_running(self, why: str = "") -> NotRunning:
        return NotRunning(
            f"no Relevo runs on {self._data}{why}: start it with `relevo serve --data {self._data}`, "
            "or name the directory of the one that runs with --data DIR"
        )


def quoted(text: str) -> str:
    """``text`` as one segment of a path."""
    return urllib.parse.quote(text, safe="")


def _error(status: int, data: bytes) -> RelevoError:
    try:
        found = json.loads(data)
        detail = str(found["detail"])
    except (ValueError, KeyError, TypeError):
        return Failed(f"the server answered {status}: {data[:200].decode(errors='replace')}")
    if status in (400, 413, 422):
        return Invalid(str(found.get("reason", "invalid")), detail)
    return _KINDS.get(status, Failed)(detail)
