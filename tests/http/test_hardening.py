"""What stands in front of the routes: names, origins, request names, proxies, TLS."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.http.problems import problem
from tests.http.test_sheet import decoded, drawn
from tests.journeys.live import eventually
from tests.mqtt.test_transports import Authority, needs_openssl
from tests.running import ADMIN_PASSWORD, RunningServer, free_ports

ORIGIN = "https://panel.example.org"
PUBLIC = "https://things.example.org"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a public name, a foreign page it knows and a proxy in front of it."""
    env = {
        "RELEVO_TRUSTED_HOSTS": "relevo.example.org",
        "RELEVO_ALLOWED_ORIGINS": ORIGIN,
        "RELEVO_TRUSTED_PROXIES": "127.0.0.1",
        "RELEVO_PUBLIC_URL": "https://Things.example.org:443/",
    }
    with RunningServer(tmp_path_factory.mktemp("behind") / "data", env=env) as server:
        yield server


def ask(server: RunningServer, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    return httpx.request(method, server.http + path, headers=headers, trust_env=False)


def test_a_name_that_is_not_the_servers_is_not_answered_and_told(server: RunningServer) -> None:
    answer = ask(server, "/api/v1/devices", Host="rebound.example")
    assert problem(answer, 421)["reason"] == "host_not_trusted"
    assert ask(server, "/healthz", Host="rebound.example").json().keys() == {"detail"}
    assert ask(server, "/api/current", Host="rebound.example").json().keys() == {"error"}
    eventually(lambda: "rebound.example" in server.api.get("/api/v1/system/timeline").text)


def test_two_names_at_once_are_none(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=5) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: rebound.example\r\n\r\n")
        assert raw.recv(100).split(b" ")[1] in (b"400", b"421")


async def test_a_socket_under_a_foreign_name_is_refused(server: RunningServer) -> None:
    uri = "ws://rebound.example/api/v1/ws"
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(uri, host="127.0.0.1", port=server.http_port):
            pass
    assert refused.value.response.status_code == 403


def test_the_listed_name_is_answered(behind: RunningServer) -> None:
    assert ask(behind, "/healthz", Host="relevo.example.org").status_code == 200
    assert ask(behind, "/healthz", Host="www.relevo.example.org").status_code == 421


def test_foreign_pages_are_told_nothing_unless_they_are_listed(server: RunningServer, behind: RunningServer) -> None:
    asks = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    closed = ask(server, "/api/v1/devices", "OPTIONS", **asks)
    assert not any(name.startswith("access-control") for name in closed.headers)
    opened = ask(behind, "/api/v1/devices", "OPTIONS", **asks)
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == ORIGIN
    # A token has to be shown; the cookie of whoever sits at the browser does not count.
    assert "access-control-allow-credentials" not in opened.headers
    other = ask(behind, "/healthz", Origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers
    assert ask(behind, "/healthz", Origin=ORIGIN).headers["access-control-allow-origin"] == ORIGIN


def test_a_listed_page_signs_in_with_tokens_and_without_a_cookie(behind: RunningServer) -> None:
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    answer = httpx.post(f"{behind.http}/api/v1/auth/login", json=body, headers={"Origin": ORIGIN}, trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["refresh_token"]
    assert "set-cookie" not in answer.headers


def test_every_answer_has_a_name_and_a_good_one_is_taken_over(server: RunningServer) -> None:
    first, second = (ask(server, "/healthz").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert ask(server, "/nothing", **{"X-Request-Id": "from-the-proxy-1"}).headers["x-request-id"] == "from-the-proxy-1"
    for bad in ("short", "x" * 65, "with space here", "semi;colon-in-it"):
        assert ask(server, "/healthz", **{"X-Request-Id": bad}).headers["x-request-id"] != bad


def test_only_a_trusted_proxy_says_who_really_asks(server: RunningServer, behind: RunningServer) -> None:
    for one, shown in ((server, "127.0.0.1"), (behind, "203.0.113.77")):
        body = {"username": "admin", "password": "wrong-by-intention"}
        headers = {"X-Forwarded-For": "203.0.113.77", "X-Forwarded-Proto": "https"}
        httpx.post(f"{one.http}/api/v1/auth/login", json=body, headers=headers, trust_env=False)

        def addresses(one: RunningServer = one) -> list[str]:
            lines = one.api.get("/api/v1/system/timeline").json()["items"]
            return [line["address"] for line in lines if line["reason"] == "bad_login"]

        eventually(lambda shown=shown, addresses=addresses: shown in addresses())  # type: ignore[misc]
        assert ("203.0.113.77" in addresses()) is (shown == "203.0.113.77")


def test_a_cookie_behind_a_proxy_with_tls_is_for_tls_only(behind: RunningServer) -> None:
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    host = "relevo.example.org"
    headers = {"X-Forwarded-Proto": "https", "Origin": f"https://{host}", "Host": host}
    answer = httpx.post(f"{behind.http}/api/v1/auth/login", json=body, headers=headers, trust_env=False)
    assert "secure" in answer.headers["set-cookie"].lower()


@needs_openssl
def test_http_speaks_tls_beside_mqtt_and_takes_up_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("relevo", "server")
    https, mqtts = free_ports(2)
    env = {
        "RELEVO_TLS_CERT": str(certificate),
        "RELEVO_TLS_KEY": str(key),
        "RELEVO_HTTPS": f"127.0.0.1:{https}",
        "RELEVO_MQTTS": f"127.0.0.1:{mqtts}",
    }
    trusting = ssl.create_default_context(cafile=str(authority.file))
    with RunningServer(tmp_path / "data", env=env) as server:
        with httpx.Client(base_url=f"https://127.0.0.1:{https}", verify=trusting, trust_env=False) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            body = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = client.post("/api/v1/auth/login", json=body, headers={"Origin": f"https://127.0.0.1:{https}"})
            assert "secure" in answer.headers["set-cookie"].lower()

            def serial() -> str:
                return ssl.get_server_certificate(("127.0.0.1", https))

            before = serial()
            authority.issue("relevo", "server")
            eventually(lambda: serial() != before, 10)
            # The connection that was open goes on.
            assert client.get("/healthz").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{https}/healthz", trust_env=False)
        assert httpx.get(f"{server.http}/healthz", trust_env=False).status_code == 200


def test_labels_carry_the_public_address_whatever_name_was_asked(behind: RunningServer) -> None:
    behind.register("labelled")
    for host in ("127.0.0.1", "relevo.example.org"):
        answer = behind.api.get("/api/v1/devices/labelled/label.svg", headers={"Host": host})
        (text,) = [decoded(grey) for grey in drawn(answer.text)]
        assert text == f"{PUBLIC}/ui/claim?contract=native&serial=labelled"
    sheet = behind.api.post("/api/v1/labels", json={"identities": [{"contract": "native", "external_id": "to-come"}]})
    (text,) = [decoded(grey) for grey in drawn(sheet.text)]
    assert text.startswith(f"{PUBLIC}/ui/claim?")


async def test_the_public_address_is_a_trusted_host_and_its_pages_are_our_own(behind: RunningServer) -> None:
    assert ask(behind, "/healthz", Host="things.example.org").status_code == 200
    assert ask(behind, "/healthz", Host="other.example.org").status_code == 421
    # A proxy may ask under another name than the one that the browser shows.
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    answer = httpx.post(f"{behind.http}/api/v1/auth/login", json=body, headers={"Origin": PUBLIC}, trust_env=False)
    assert answer.status_code == 200
    cookie = behind.canaries.plant(answer.cookies["relevo_session"])
    for path, more in (("/api/v1/ws", {"Cookie": f"relevo_session={cookie}"}), ("/mqtt", {})):
        uri = f"ws://127.0.0.1:{behind.http_port}{path}"
        protocols = [websockets.Subprotocol("mqtt")] if path == "/mqtt" else None
        async with websockets.connect(
            uri, subprotocols=protocols, origin=websockets.Origin(PUBLIC), additional_headers=more
        ) as ws:
            pong = await ws.ping()
            await pong
            assert ws.close_code is None
    for foreign in ("http://things.example.org", f"{PUBLIC}:8443", "https://things.example.org.evil.example"):
        refused = httpx.post(
            f"{behind.http}/api/v1/auth/login", json=body, headers={"Origin": foreign}, trust_env=False
        )
        assert refused.status_code == 403, foreign
