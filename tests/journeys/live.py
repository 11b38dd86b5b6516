"""Watching the stream the way a third-party program does."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from tests.running import RunningServer


def eventually(probe: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first true answer of ``probe``; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"{probe} did not come true within {seconds} s"
        time.sleep(0.01)


def frames(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Server-sent events: ``id``, ``event`` and parsed ``data``."""
    frame: dict[str, Any] = {}
    for line in lines:
        if line == "":
            if "data" in frame:
                yield frame
            frame = {}
        elif not line.startswith(":"):
            field, _, value = line.partition(": ")
            frame[field] = json.loads(value) if field == "data" else value


class Watcher:
    """Collects the events of ``/api/v1/stream`` in the background, each with the time it arrived."""

    def __init__(self, server: RunningServer, query: str = "", last_event_id: int | None = None) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        headers = {"Authorization": f"Bearer {server.token}"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        self._client = httpx.Client(timeout=httpx.Timeout(10, read=60), trust_env=False)
        self._context = self._client.stream("GET", f"{server.http}/api/v1/stream{query}", headers=headers)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open = threading.Event()

    def __enter__(self) -> Self:
        response = self._context.__enter__()
        assert response.status_code == 200, response.status_code
        lines = response.iter_lines()
        assert next(lines).startswith("retry:")
        self._lines = lines
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            for frame in frames(self._lines):
                self.events.append((time.time(), frame))
        except (httpx.HTTPError, httpx.StreamError):
            return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.close()
        self._thread.join(5)

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], seconds: float = 5.0) -> tuple[float, dict[str, Any]]:
        """The first event whose data fits, with its time of arrival."""
        return eventually(lambda: next((one for one in list(self.events) if fits(one[1]["data"])), None), seconds)
