"""Tokens signed with the contract's own key, restarts in the middle of a leak, and a server that cannot send."""

from pathlib import Path

import httpx
import jwt
import pytest

from relevo.app import Application
from relevo.errors import ConfigurationError
from relevo.settings import load
from tests.journeys.meters import Meter, claim, sign_in
from tests.running import ADMIN_PASSWORD, RunningServer
from tests.test_app import running

KEY = "q8Zr2LkW5tYp0XvB7nMd4HsJ1cFg9Ea6"
START = 1_767_225_600


def test_other_programs_can_check_tokens_that_a_given_key_signed(tmp_path: Path) -> None:
    env = {"SECRET_KEY": KEY, "JWT_EXP_MINUTES": "90", "RELEVO_OPEN_READS": "false"}
    with RunningServer(tmp_path / "data", env=env) as server, sign_in(server) as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, KEY, algorithms=["HS256"])
        assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == ("admin", "admin", 5_400)
        assert client.get("/api/current").status_code == 200
        # Whoever knows the key alone has no session, and a session that ended is over.
        forged = jwt.encode(claims | {"sid": "0" * 16}, KEY, algorithm="HS256", headers={"kid": "hidrometro"})
        for bad in (forged, jwt.encode(claims, KEY[::-1], algorithm="HS256", headers={"kid": "hidrometro"})):
            answer = httpx.get(
                f"{server.http}/api/current", headers={"Authorization": f"Bearer {bad}"}, trust_env=False
            )
            assert (answer.status_code, answer.json()) == (401, {"error": "invalid token"})
        # Other contracts' tokens are signed with the server's own.
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(server.token, KEY, algorithms=["HS256"], options={"verify_aud": False})
        assert client.post("/logout").status_code == 200
        assert client.get("/api/current").json() == {"error": "invalid token"}


def test_a_restart_in_the_middle_of_a_leak_raises_no_second_alert(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        claim(server, "LONG")
        with Meter(server) as meter:
            for at in (0, 5, 10, 15):
                meter.read("LONG", 10 + at, 6, ts=START + at)
        server.kill()
        server.start()
        with Meter(server) as meter:
            for at in (20, 30, 40):
                meter.read("LONG", 10 + at, 6, ts=START + at)
            assert len(server.api.get("/api/alerts").json()["alerts"]) == 1
            meter.read("LONG", 60, 0, ts=START + 41)
            for at in (50, 61):
                meter.read("LONG", 10 + at, 6, ts=START + at)
        assert len(server.api.get("/api/alerts").json()["alerts"]) == 2


async def test_without_the_mqtt_door_nothing_can_be_sent(tmp_path: Path) -> None:
    async with running(tmp_path, admin_password=ADMIN_PASSWORD) as one:
        url = f"http://127.0.0.1:{one.http_port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            body = {"username": "admin", "password": ADMIN_PASSWORD}
            token = (await client.post("/api/login", json=body)).json()["token"]
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.post("/api/cmd", json={"action": "reset"}, headers=headers)).status_code == 200
            await one.mqtt.stop_accepting()
            answer = await client.post("/api/cmd", json={"action": "reset"}, headers=headers)
            assert (answer.status_code, answer.json()) == (503, {"error": "mqtt unavailable"})


async def test_another_database_is_refused_by_its_name(tmp_path: Path) -> None:
    settings = load(
        {"data": tmp_path, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0"}, {"DB_ENGINE": "mysql", "DB_HOST": "db"}
    )
    with pytest.raises(ConfigurationError, match=r"database_url \(environment DB_ENGINE, DB_HOST\)"):
        await Application(settings).start()
