"""Inboxes, channels and preferences over real HTTP: everybody's own, and nobody else's."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.http.problems import fields
from tests.journeys.live import Watcher, frames
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
NOTICES, CHANNELS = "/api/v1/notifications", "/api/v1/notifications/channels"
DISCORD = "discord://123456789012345/a-token-of-nobody-else"
Enter = Callable[..., httpx.Client]


@pytest.fixture
def enter(server: RunningServer) -> Iterator[Enter]:
    """Make a person and sign them in."""
    with ExitStack() as opened:

        def make(name: str, role: str = "viewer") -> httpx.Client:
            body = {"name": name, "password": PASSWORD, "role": role}
            assert server.api.post("/api/v1/users", json=body).status_code == 201
            client = opened.enter_context(httpx.Client(base_url=server.http, trust_env=False, timeout=10))
            answer = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            return client

        yield make


def raised(client: httpx.Client, title: str = "Test", severity: str = "info") -> str:
    answer = client.post(f"{NOTICES}/test", json={"title": title, "severity": severity})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def titles(client: httpx.Client, **query: Any) -> list[str]:
    return [one["title"] for one in client.get(NOTICES, params=query).json()["items"]]


def channel(client: httpx.Client, url: str = DISCORD, **more: Any) -> httpx.Response:
    return client.post(CHANNELS, json={"name": "mine", "url": url} | more)


def test_an_inbox_is_listed_filtered_read_and_emptied(enter: Enter, name: str) -> None:
    client = enter(name)
    for title, severity in (("one", "info"), ("two", "warning"), ("three", "critical")):
        raised(client, title, severity)
    assert titles(client) == ["three", "two", "one"]
    assert titles(client, severity="warning") == ["two"]
    first = client.get(NOTICES, params={"limit": 2}).json()
    assert first["unread"] == 3
    assert titles(client, limit=2, cursor=first["next"]) == ["one"]
    newest = first["items"][0]
    assert (newest["count"], newest["source"], newest["read_at"], newest["device"]) == (1, "test", None, None)
    read = client.put(f"{NOTICES}/{newest['id']}/read").json()
    assert read["read_at"] is not None
    assert client.put(f"{NOTICES}/{newest['id']}/read").json() == read == client.get(f"{NOTICES}/{newest['id']}").json()
    assert (titles(client, read=True), titles(client, read=False)) == (["three"], ["two", "one"])
    assert client.put(f"{NOTICES}/read-all").json() == {"unread": 0}
    assert client.delete(f"{NOTICES}/{newest['id']}").status_code == 204
    assert client.delete(f"{NOTICES}/{newest['id']}").status_code == 404
    assert titles(client) == ["two", "one"]


def test_nobody_sees_or_changes_what_is_somebody_elses(server: RunningServer, enter: Enter, name: str) -> None:
    ana, ben = enter(f"{name}a"), enter(f"{name}b", "operator")
    notice, made = raised(ana, f"for-{name}"), channel(ana).json()["id"]
    for method, path in (
        ("GET", f"{NOTICES}/{notice}"), ("PUT", f"{NOTICES}/{notice}/read"), ("DELETE", f"{NOTICES}/{notice}"),
        ("GET", f"{CHANNELS}/{made}"), ("PATCH", f"{CHANNELS}/{made}"), ("DELETE", f"{CHANNELS}/{made}"),
        ("POST", f"{CHANNELS}/{made}/test"),
    ):  # fmt: skip
        answer = ben.request(method, path, json={"name": "x"} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path)
    assert titles(ben) == []
    # An administrator's inbox is their own too.
    assert f"for-{name}" not in titles(server.api)
    assert server.api.get(f"{NOTICES}/{notice}").status_code == 404
    assert ben.put(f"{NOTICES}/read-all").status_code == 200
    assert ana.get(NOTICES).json()["unread"] == 1
    assert ben.get(CHANNELS, params={"owner": f"{name}a"}).status_code == 403
    assert channel(ben, owner=f"{name}a").status_code == 403


@pytest.mark.parametrize(
    "url",
    ["json://127.0.0.1/x", "dbus://", "gotify://10.0.0.1/t", "ntfy://h/t", f"{DISCORD}?avatar_url=http://127.0.0.1/",
     "mailtos://u:p@example.org?smtp=10.0.0.1", "https://example.org/hook"],
)  # fmt: skip
def test_refused_schemes_name_the_field_and_what_is_allowed(enter: Enter, name: str, url: str) -> None:
    client = enter(name)
    made = channel(client).json()["id"]
    for answer in (channel(client, url), client.patch(f"{CHANNELS}/{made}", json={"url": url})):
        assert answer.status_code == 422
        assert fields(answer) == ["url"]
        assert answer.json()["reason"] == "channel_url_refused"
        # The list, or the form of the one that was meant.
        assert any(one in answer.text for one in ("mailto:", "discord://", "ntfy://TOPIC"))
    assert len(client.get(CHANNELS).json()["items"]) == 1


def test_an_administrator_enters_own_hosts_also_for_others(server: RunningServer, enter: Enter, name: str) -> None:
    client = enter(name)
    answer = channel(server.api, "json://127.0.0.1:9/hook", owner=name)
    assert answer.status_code == 201
    (seen,) = client.get(CHANNELS).json()["items"]
    assert (seen["owner"], seen["kind"], seen["url"]) == (name, "json", "json://****")
    assert [one["id"] for one in server.api.get(CHANNELS, params={"owner": name}).json()["items"]] == [seen["id"]]
    answer = channel(server.api, owner="no-such-person")
    assert answer.status_code == 422
    assert fields(answer) == ["owner"]


def test_a_channels_url_is_shown_to_nobody_and_logged_nowhere(server: RunningServer, enter: Enter, name: str) -> None:
    client = enter(name)
    secret = f"discord://123456789012345/token-{name}-abcdefgh"
    made = channel(client, secret)
    assert made.json()["url"] == "discord://****"
    path = f"{CHANNELS}/{made.json()['id']}"
    assert made.headers["Location"] == path
    changed = client.patch(path, json={"name": "other", "min_severity": "critical", "digest": "daily"}).json()
    assert (changed["name"], changed["min_severity"], changed["digest"]) == ("other", "critical", "daily")
    answers = [made, client.get(path), client.get(CHANNELS), server.api.get("/api/v1/audit", params={"by": name})]
    assert {one["action"] for one in answers[-1].json()["items"]} >= {"channel.create", "channel.change"}
    assert not any(f"token-{name}" in one.text for one in answers)
    assert f"token-{name}" not in server.log.read_text()
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_mail_needs_a_mail_server(enter: Enter, name: str) -> None:
    answer = channel(enter(name), "mailto:ana@example.org")
    assert answer.status_code == 422
    assert fields(answer) == ["url"]
    assert "notifications.smtp_url" in answer.json()["detail"]


def test_channels_are_bounded(enter: Enter, name: str) -> None:
    client = enter(name)
    for _ in range(20):
        assert channel(client, enabled=False).status_code == 201
    answer = channel(client)
    assert answer.status_code == 422
    assert "20" in answer.json()["detail"]


def test_preferences_are_kept_and_say_what_holds(enter: Enter, name: str) -> None:
    client = enter(name)
    plain = client.get(f"{NOTICES}/preferences").json()
    assert plain["effective"] == {"language": "en", "zone": "UTC"}
    wanted = {
        "language": "pt", "zone": "America/Sao_Paulo", "quiet_action": "hold", "critical_passes": False,
        "quiet": [{"days": ["mon", "sun"], "from": "22:00", "to": "07:00"}], "digest": "daily", "digest_at": "18:30",
        "severities": {"info": "inbox", "warning": "send", "critical": "now"}, "scope": "mine",
        "muted": [{"source": "rule:r1", "until": "2027-01-01T00:00:00.000Z"}, {"source": "device", "until": None}],
        "snoozed_until": "2027-01-01T00:00:00.000Z",
    }  # fmt: skip
    answer = client.put(f"{NOTICES}/preferences", json=wanted)
    assert answer.status_code == 200, answer.text
    held = client.get(f"{NOTICES}/preferences").json()
    assert held == answer.json()
    assert held.pop("effective") == {"language": "pt", "zone": "America/Sao_Paulo"}
    assert held == wanted
    assert client.put(f"{NOTICES}/preferences", json={}).json() == plain


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"language": "de"}, "language"),
        ({"digest_at": "25:00"}, "digest_at"),
        ({"quiet": [{"days": ["mon"], "from": "22:00", "to": "7"}]}, "quiet.0.to"),
        ({"quiet": [{"days": ["monday"], "from": "22:00", "to": "07:00"}]}, "quiet.0.days.0"),
        ({"severities": {"info": "never"}}, "severities.info"),
        ({"muted": [{"source": "Rule 1"}]}, "muted.0.source"),
        ({"muted": [{"source": "rule:1", "until": "tomorrow"}]}, "muted.0.until"),
        ({"snoozed_until": "9999-01-01"}, "snoozed_until"),
        ({"snoozed_until": False}, "snoozed_until.str"),
        ({"critical_passes": "yes"}, "critical_passes"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_preferences_that_mean_nothing_are_refused_by_field(
    enter: Enter, name: str, changed: dict[str, Any], field: str
) -> None:
    answer = enter(name).put(f"{NOTICES}/preferences", json=changed)
    assert answer.status_code == 422
    assert field in fields(answer)


def test_a_key_that_may_only_look_leads_nothing_elsewhere(enter: Enter, name: str) -> None:
    client = enter(name, "operator")
    notice, made = raised(client), channel(client).json()["id"]
    for scope, status in (("read", 403), ("control", 403), ("manage", 200)):
        key = client.post("/api/v1/keys", json={"name": scope, "scopes": [scope]}).json()["key"]
        with httpx.Client(
            base_url=client.base_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        ) as program:
            assert program.get(NOTICES).status_code == 200
            answers = [
                program.patch(f"{CHANNELS}/{made}", json={"name": "x"}),
                program.put(f"{NOTICES}/preferences", json={}),
                program.put(f"{NOTICES}/{notice}/read"),
                program.put(f"{NOTICES}/read-all"),
            ]
            assert [one.status_code for one in answers] == [status] * 4
            if status == 403:
                assert channel(program).status_code == 403
                assert program.post(f"{CHANNELS}/{made}/test").status_code == 403
                assert program.delete(f"{CHANNELS}/{made}").status_code == 403


def test_the_stream_shows_a_notification_to_whom_it_is_addressed_alone(
    server: RunningServer, enter: Enter, name: str
) -> None:
    client = enter(name)
    with Watcher(server, "?kinds=notification") as administrator:
        notice = raised(client, f"t-{name}", "critical")
        own = raised(server.api, f"mine-{name}")
        administrator.wait_for(lambda one: one["id"] == own)
        assert notice not in [one["data"]["id"] for _, one in administrator.events]
    with client.stream("GET", "/api/v1/stream?kinds=notification&since=0") as replayed:
        # What removed devices said is not there any more, which is told as a gap.
        seen = next(one["data"] for one in frames(replayed.iter_lines()) if one["event"] != "gap")
    assert (seen["id"], seen["title"], seen["severity"]) == (notice, f"t-{name}", "critical")
    assert "to" not in seen


def test_what_may_be_entered_is_listed(enter: Enter, name: str) -> None:
    found = {one["scheme"] for one in enter(name).get(f"{NOTICES}/services").json()["items"]}
    assert {"discord", "tgram", "ntfy"} <= found
    assert not found & {"json", "dbus", "mailto"}


def test_metrics_count_notifications(server: RunningServer, enter: Enter, name: str) -> None:
    raised(enter(name))
    page = server.api.get("/metrics").text
    assert "relevo_notifications_raised_total" in page
    assert "relevo_notifications_waiting" in page


def test_a_person_who_is_removed_takes_their_channels_along(server: RunningServer, enter: Enter, name: str) -> None:
    client = enter(name)
    made = channel(client).json()["id"]
    assert server.api.delete(f"/api/v1/users/{name}").status_code == 204
    assert server.api.get(f"{CHANNELS}/{made}").status_code == 404
