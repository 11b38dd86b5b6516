"""What a request may bring, and how long it may take to bring it, as bytes on a socket."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.http.conftest import BODY_BYTES
from tests.http.problems import problem
from tests.journeys.live import eventually
from tests.running import RunningServer

ROUTES = [
    ("POST", "/api/v1/devices/{device}/telemetry"),
    ("POST", "/api/v1/telemetry"),
    ("POST", "/api/v1/devices"),
    ("PATCH", "/api/v1/devices/{device}"),
    ("POST", "/api/v1/claims"),
    ("POST", "/api/v1/auth/login"),
]


@pytest.fixture(scope="package")
def device(server: RunningServer) -> str:
    server.register("limits")
    return "limits"


def refusals(api: httpx.Client, reason: str) -> int:
    items: list[dict[str, Any]] = api.get("/api/v1/system/timeline").json()["items"]
    return sum(one["count"] for one in items if one["reason"] == reason)


def chunks(size: int) -> Iterator[bytes]:
    yield b'{"v": "'
    for _ in range(size // 1024):
        yield b"x" * 1024
    yield b'"}'


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_body_that_announces_too_much_is_refused_on_every_route(
    api: httpx.Client, device: str, method: str, path: str
) -> None:
    answer = api.request(method, path.format(device=device), content=b"x" * (BODY_BYTES + 1))
    assert problem(answer, 413)["reason"] == "body_too_large"
    assert str(BODY_BYTES) in problem(answer, 413)["detail"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_body_in_chunks_that_becomes_too_much_is_refused_on_every_route(
    api: httpx.Client, device: str, method: str, path: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = api.request(method, path.format(device=device), content=chunks(2 * BODY_BYTES), headers=headers)
    assert problem(answer, 413)["reason"] == "body_too_large"


def test_a_body_of_the_largest_size_is_taken_either_way(api: httpx.Client, device: str) -> None:
    # Texts are limited on their own, so the room is filled with blanks.
    body = b'{"v": 1' + b" " * (BODY_BYTES - 8) + b"}"
    assert len(body) == BODY_BYTES
    path = f"/api/v1/devices/{device}/telemetry"
    assert api.post(path, content=body).status_code == 200
    assert api.post(path, content=iter([body[:100], body[100:]])).status_code == 200


def test_what_was_too_large_is_told_at_the_door(api: httpx.Client, device: str) -> None:
    before = refusals(api, "body_too_large")
    api.post(f"/api/v1/devices/{device}/telemetry", content=b"x" * (BODY_BYTES + 1))
    # Repetitions within a second are told together, at its end.
    eventually(lambda: refusals(api, "body_too_large") > before)


def exchange(server: RunningServer, first: bytes, seconds: float) -> tuple[bytes, float]:
    """Send ``first`` and then nothing more; what comes back until the server closes, and after how long."""
    begun = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=seconds)) as connection:
        connection.sendall(first)
        answer = b""
        try:
            while data := connection.recv(65_536):
                answer += data
        except TimeoutError:
            return answer, float("inf")
    return answer, time.monotonic() - begun


def request(server: RunningServer, method: str, path: str, *headers: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.http_port}",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_body_that_does_not_come_is_given_up(server: RunningServer, device: str) -> None:
    forms = {"length": ("Content-Length: 100", b'{"v"'), "chunks": ("Transfer-Encoding: chunked", b"4\r\n{")}
    cases = [(method, path.format(device=device), form) for method, path in (ROUTES[0], ROUTES[2]) for form in forms]

    def begin(method: str, path: str, form: str) -> tuple[bytes, float]:
        header, begun = forms[form]
        return exchange(server, request(server, method, path, header) + begun, 4)

    assert server.token
    with ThreadPoolExecutor(len(cases)) as pool:
        found = dict(zip(cases, pool.map(begin, *zip(*cases, strict=True)), strict=True))
    for case, (answer, took) in found.items():
        assert answer.startswith(b"HTTP/1.1 408 "), (case, answer[:300])
        assert b"application/problem+json" in answer, case
        assert b"request_too_slow" in answer, case
        assert 0.9 <= took < 3.5, case


def test_a_body_that_trickles_is_given_up_however_steady(server: RunningServer, device: str) -> None:
    begun = time.monotonic()
    path = f"/api/v1/devices/{device}/telemetry"
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=0.2)) as connection:
        connection.sendall(request(server, "POST", path, "Content-Length: 1000"))
        answer = b""
        while not answer and time.monotonic() - begun < 4:
            try:
                connection.sendall(b" ")
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert time.monotonic() - begun < 3.5


def test_headers_that_never_end_or_never_begin_are_given_up(server: RunningServer) -> None:
    """The time is for a whole request: a thousand sockets with half a header must not stay for ever."""
    beginnings = [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET", b""]
    with ThreadPoolExecutor(len(beginnings)) as pool:
        took = [seconds for _, seconds in pool.map(lambda first: exchange(server, first, 4), beginnings)]
    assert [seconds < 3.5 for seconds in took] == [True] * len(beginnings)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(7),
)
def test_garbage_ends_its_own_connection_with_an_error_of_the_client(server: RunningServer, garbage: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=4)) as connection:
        answer = b""
        try:
            connection.sendall(garbage)
            answer = connection.recv(65_536)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    assert server.health().status_code == 200


def test_headers_without_measure_are_refused(server: RunningServer) -> None:
    """Whatever is kept for a request is bounded: headers are kept until the last one came."""
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=4)) as connection:
        sent, answer = 0, b""
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            while sent < 4 * 1024 * 1024:
                connection.sendall(b"X-Header: %s\r\n" % (b"y" * 8_000) * 8)
                sent += 64_000
            connection.sendall(b"\r\n")
            answer = connection.recv(65_536)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert not answer.startswith(b"HTTP/1.1 200"), f"{sent} bytes of headers were taken"
    assert server.health().status_code == 200


def test_after_a_refused_body_the_connection_is_not_used_again(server: RunningServer, device: str) -> None:
    """What is left of the body must not be read as the next request."""
    path = f"/api/v1/devices/{device}/telemetry"
    smuggled = b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
    head = request(server, "POST", path, f"Content-Length: {BODY_BYTES + 1}")
    answer, _ = exchange(server, head + smuggled, 3)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def log_of(server: RunningServer) -> Callable[[], str]:
    return lambda: server.log.read_text(errors="replace")


def test_none_of_this_left_a_trace_of_a_defect_in_the_log(server: RunningServer) -> None:
    text = log_of(server)()
    assert "Traceback" not in text, text[text.index("Traceback") :][:3_000]
