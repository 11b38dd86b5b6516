"""What administrators do with backups over HTTP."""

import time
from pathlib import Path

import httpx

from relevo.store.archive import Archive
from tests.running import RunningServer

PATH = "/api/v1/system/backups"


def made(api: httpx.Client) -> str:
    """Make one and wait for it; its name."""
    assert api.post(PATH).status_code == 202
    until = time.monotonic() + 60
    while (found := api.get(PATH).json())["running"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert found["error"] == ""
    name: str = found["items"][0]["name"]
    return name


def test_one_is_made_downloaded_in_parts_and_removed(server: RunningServer, tmp_path: Path, name: str) -> None:
    api = server.api
    server.register(name)
    file = made(api)
    whole = api.get(f"{PATH}/{file}")
    assert whole.status_code == 200
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{file}"'
    assert whole.headers["Cache-Control"] == "no-store"
    middle = len(whole.content) // 2
    parts = [
        api.get(f"{PATH}/{file}", headers={"Range": f"bytes={span}"}) for span in (f"0-{middle - 1}", f"{middle}-")
    ]
    assert [part.status_code for part in parts] == [206, 206]
    assert b"".join(part.content for part in parts) == whole.content
    (tmp_path / file).write_bytes(whole.content)
    with Archive(tmp_path / file) as archive:
        archive.verify()
        assert archive.manifest.devices >= 1
    page = api.get("/metrics").text
    assert "relevo_backup_age_seconds " in page
    assert "relevo_backups_total 0.0" not in page
    assert api.get("/api/v1/system").json()["backups"]["size"] == len(whole.content)
    assert api.delete(f"{PATH}/{file}").status_code == 204
    assert api.delete(f"{PATH}/{file}").status_code == 404
    assert api.get(f"{PATH}/{file}").status_code == 404
    told = [one["action"] for one in api.get("/api/v1/audit", params={"action": "backup"}).json()["items"]]
    assert told[:5] == ["backup.delete", "backup.download", "backup.download", "backup.download", "backup.make"]


def test_a_second_one_waits_for_nobody_and_names_stay_in_the_folder(server: RunningServer) -> None:
    answers = [server.api.post(PATH) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 409]
    assert "being made already" in answers[1].json()["detail"]
    assert server.api.get(f"{PATH}/secret.key").status_code == 404
    assert server.api.get(f"{PATH}/..%2Fsecret.key").status_code == 404
    until = time.monotonic() + 60
    while server.api.get(PATH).json()["running"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_who_may_only_read_gets_none(server: RunningServer, anonymous: httpx.Client) -> None:
    file = made(server.api)
    assert anonymous.get(f"{PATH}/{file}").status_code == 401
    key = server.api.post("/api/v1/keys", json={"name": "reads", "scopes": ["read"]}).json()["key"]
    head = {"Authorization": f"Bearer {server.canaries.plant(key)}"}
    assert anonymous.get("/api/v1/devices", headers=head).status_code == 200
    assert anonymous.get(f"{PATH}/{file}", headers=head).status_code == 403
    assert anonymous.get(PATH, headers=head).status_code == 403
