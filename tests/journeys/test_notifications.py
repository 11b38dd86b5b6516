"""Notices from a real server to a real mail server and web hook, through restarts and kills."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.journeys.live import eventually
from tests.post import MailServer, WebHook, text_of
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"


@pytest.fixture(scope="module")
def post() -> Iterator[MailServer]:
    with MailServer() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, post: MailServer) -> Iterator[RunningServer]:
    env = {"RELEVO_NOTIFICATIONS__SMTP_URL": post.url, "RELEVO_NOTIFICATIONS__MAIL_FROM": "relevo@example.org"}
    with RunningServer(tmp_path_factory.mktemp("told") / "data", env=env) as one:
        yield one


@contextlib.contextmanager
def person(server: RunningServer, name: str, role: str = "viewer", email: str = "") -> Iterator[httpx.Client]:
    body = {"name": name, "password": PASSWORD, "role": role, "email": email, "full_name": name.title()}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    with httpx.Client(base_url=server.http, trust_env=False, timeout=30) as client:
        answer = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def channel(client: httpx.Client, url: str, **more: Any) -> str:
    answer = client.post("/api/v1/notifications/channels", json={"name": "mine", "url": url, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def raised(client: httpx.Client, title: str, severity: str = "info", text: str = "") -> str:
    body = {"title": title, "severity": severity, "text": text}
    answer = client.post("/api/v1/notifications/test", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def state(client: httpx.Client, channel_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/notifications/channels/{channel_id}").json()
    return found


def test_mail_arrives_in_the_language_and_the_zone_of_whoever_gets_it(server: RunningServer, post: MailServer) -> None:
    told = {
        "en": ("Europe/London", "[Warning] Tank 1 < 5 %", "When:", "(Europe/London)"),
        "es": ("America/Mexico_City", "[Advertencia] Tank 1 < 5 %", "Cuándo:", "(America/Mexico_City)"),
        "pt": ("America/Sao_Paulo", "[Aviso] Tank 1 < 5 %", "Quando:", "(America/Sao_Paulo)"),
    }
    for language, (zone, subject, word, named) in told.items():
        with person(server, f"lang-{language}", email=f"{language}@example.org") as client:
            before = len(post.mails)
            body = {"language": language, "zone": zone}
            assert client.put("/api/v1/notifications/preferences", json=body).status_code == 200
            channel(client, "mailto:")
            raised(client, "Tank 1 < 5 %", "warning", "<script>alert(1)</script>")
            mail = post.wait(before + 1)[-1]
            assert mail["To"] == f"{language}@example.org"
            assert mail["From"] == "relevo@example.org"
            assert mail["Subject"] == subject
            assert word in text_of(mail)
            assert named in text_of(mail)
            assert "<script>alert(1)</script>" in text_of(mail)
            page = text_of(mail, "html")
            assert f'<html lang="{language}">' in page
            assert "<script>" not in page
            assert "&lt;script&gt;alert(1)" in page


def test_a_test_answers_with_the_outcome_and_with_why_not(server: RunningServer, post: MailServer) -> None:
    with person(server, "tester", email="") as client, WebHook() as hook:
        works = channel(client, "mailto:tester@example.org")
        assert client.post(f"/api/v1/notifications/channels/{works}/test").json() == {"ok": True, "detail": ""}
        assert "mine" in post.mails[-1]["Subject"]
        addressless = channel(client, "mailto:")
        answer = client.post(f"/api/v1/notifications/channels/{addressless}/test").json()
        assert answer == {"ok": False, "detail": "the account has no e-mail address"}
        post.refuse = "550 no such user here"
        answer = client.post(f"/api/v1/notifications/channels/{works}/test").json()
        post.refuse = ""
        assert not answer["ok"]
        assert "550 no such user here" in answer["detail"]
        own = channel(server.api, hook.url)
        assert server.api.post(f"/api/v1/notifications/channels/{own}/test").json()["ok"]
        assert hook.titles == ["[Information] Test of the channel “mine”"]
        gone = channel(server.api, "json://127.0.0.1:9/secret-path-of-mine")
        answer = server.api.post(f"/api/v1/notifications/channels/{gone}/test").json()
        assert not answer["ok"]
        assert "onnection" in answer["detail"]
        assert "secret-path-of-mine" not in answer["detail"]
        for one in (own, gone):
            assert server.api.delete(f"/api/v1/notifications/channels/{one}").status_code == 204


def test_what_was_under_way_when_the_server_was_killed_leaves_after_the_next_start(tmp_path: Path) -> None:
    answered = threading.Event()

    def answer(_: dict[str, Any]) -> int:
        answered.wait(30)
        return 200

    with WebHook(answer) as hook, RunningServer(tmp_path / "data") as server:
        own = channel(server.api, hook.url)
        raised(server.api, "pump stopped", "critical")
        hook.wait(1)
        server.kill()
        server.start()
        # Nobody confirmed it, so it leaves once more.
        hook.wait(2)
        answered.set()
        eventually(lambda: state(server.api, own)["waiting"] == 0)
        assert state(server.api, own)["sent_at"] is not None
        sent = len(hook.titles)
        server.kill()
        server.start()
        raised(server.api, "pump runs", "critical")
        titles = hook.wait(sent + 1)
        eventually(lambda: state(server.api, own)["waiting"] == 0)
        # What was confirmed does not come again.
        assert hook.titles == titles == ["[Critical] pump stopped"] * sent + ["[Critical] pump runs"]
        listed = server.api.get("/api/v1/notifications").json()
        assert [one["title"] for one in listed["items"]] == ["pump runs", "pump stopped"]
        assert listed["unread"] == 2


def test_what_quiet_hours_hold_survives_a_kill_and_leaves_when_the_preferences_let_it(tmp_path: Path) -> None:
    with WebHook() as hook, RunningServer(tmp_path / "data") as server:
        own = channel(server.api, hook.url)
        days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        # All hours but one that is not near, whenever this runs.
        quiet = [{"days": days, "from": "00:00", "to": "23:00"}]
        hour = server.api.get("/healthz").headers["date"].split()[4][:2]
        if hour in ("22", "23"):
            quiet = [{"days": days, "from": "12:00", "to": "11:00"}]
        body = {"zone": "UTC", "quiet": quiet}
        assert server.api.put("/api/v1/notifications/preferences", json=body).status_code == 200
        raised(server.api, "first")
        raised(server.api, "second", "warning")
        raised(server.api, "now", "critical")
        assert hook.wait(1) == ["[Critical] now"]
        eventually(lambda: state(server.api, own)["waiting"] == 2)
        server.kill()
        server.start()
        assert state(server.api, own)["waiting"] == 2
        assert server.api.put("/api/v1/notifications/preferences", json={}).status_code == 200
        # What left shortly before the kill may leave once more.
        held = ["[Information] first", "[Warning] second"]
        eventually(lambda: [one for one in hook.titles if one != "[Critical] now"] == held)


def test_the_sending_process_is_one_and_ends_with_the_server(tmp_path: Path) -> None:
    with WebHook() as hook, RunningServer(tmp_path / "data") as server:
        own = channel(server.api, hook.url)
        before = {one.pid for one in psutil.Process(server.pid).children()}
        for n in range(3):
            raised(server.api, f"n{n}")
        hook.wait(1)
        eventually(lambda: state(server.api, own)["waiting"] == 0)
        children = [one for one in psutil.Process(server.pid).children() if one.pid not in before]
        assert len([one for one in children if "sending" in " ".join(one.cmdline())]) == 1
        # Its URLs stand in no command line.
        assert not any(str(hook.port) in " ".join(one.cmdline()) for one in children)
        server.stop()
        eventually(lambda: not any(one.is_running() for one in children))
