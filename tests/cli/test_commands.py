"""The commands that do not serve, in this process."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from relevo import __version__
from relevo.cli import app
from relevo.settings.load import names
from relevo.settings.page import MASK


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("HISTORY_LIMIT", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str, **env: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=dict(env))

    return command


def refusal(result: Result) -> str:
    """What was said about a mistake in the settings."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("relevo: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_version_prints_the_version_and_nothing_else(run: Any) -> None:
    result = run("version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


# settings


def test_settings_shows_every_one_with_its_value_and_origin(run: Any, tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text('mqtt = "127.0.0.1:2883"\n\n[limits]\nbatch_items = 7\n')
    result = run("settings", "--json", "--data", str(tmp_path), "--http", "127.0.0.1:9000", RELEVO_LOG_LEVEL="debug")
    assert result.exit_code == 0
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}
    assert list(rows) == list(names())
    assert rows["data"] == (str(tmp_path), "option --data")
    assert rows["http"] == ("127.0.0.1:9000", "option --http")
    assert rows["mqtt"] == ("127.0.0.1:2883", f"{tmp_path}/relevo.toml:1")
    assert rows["limits.batch_items"] == ("7", f"{tmp_path}/relevo.toml:4")
    assert rows["log_level"] == ("debug", "environment RELEVO_LOG_LEVEL")
    assert rows["profile"] == ("secure", "default")


def test_settings_as_a_table_cuts_no_value_and_no_origin(run: Any, tmp_path: Path) -> None:
    """It is read by people and by grep, also where there is no terminal."""
    data = tmp_path / ("a-long-name-" * 8)
    data.mkdir()
    (data / "relevo.toml").write_text("[limits]\nbatch_items = 7\n")
    result = run("settings", "--data", str(data))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any("data" in line and str(data) in line and "option --data" in line for line in lines)
    assert any("limits.batch_items" in line and f"{data}/relevo.toml:2" in line for line in lines)
    for name in names():
        assert any(name in line for line in lines), name
    assert "…" not in result.stdout


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_settings_never_shows_a_secret(run: Any, tmp_path: Path, form: list[str]) -> None:
    result = run(
        "settings",
        "--data",
        str(tmp_path),
        *form,
        RELEVO_ADMIN_PASSWORD="hunter2-admin",
        RELEVO_DATABASE_URL="postgresql://relevo:hunter2-db@db.example/relevo",
        RELEVO_BROKER_URL="mqtts://relevo:hunter2-broker@broker.example:8883",
    )
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert MASK in result.output
    shown = re.sub(r"\s", "", result.stdout)
    assert "db.example" in shown
    assert "broker.example" in shown


def test_settings_tells_what_the_lab_profile_opened(run: Any, tmp_path: Path) -> None:
    result = run("settings", "--json", "--data", str(tmp_path), RELEVO_PROFILE="lab", RELEVO_OPEN_CONTROL="off")
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}
    assert rows["anonymous_mqtt"] == ("on", "profile lab")
    assert rows["open_control"] == ("off", "environment RELEVO_OPEN_CONTROL")


# Mistakes


@pytest.mark.parametrize("command", ["settings", "doctor", "serve"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("htp = 1\n", r"relevo\.toml:1: no setting is called htp; did you mean http\?"),
        ('[limits]\nbatch_items = "many"\n', r"limits\.batch_items = 'many' from .*relevo\.toml:2: "),
        ("[limits]\nqueue_events = 1\n", r"limits\.queue_events = 1 from .*: .*greater than or equal to 100"),
        ('http = "nowhere"\n', r"http = 'nowhere' from .*relevo\.toml:1: must be HOST:PORT"),
        ('profile = "open"\n', r"profile = 'open' from .*: .*'secure' or 'lab'"),
        ("http = \n", r"relevo\.toml cannot be read: .*line 1"),
        ('data = "/elsewhere"\n', r"relevo\.toml:1: data cannot be set by a file inside the data directory"),
        ("[wrong]\nx = 1\n", r"no setting is called wrong\.x"),
    ],
)
def test_a_mistake_in_the_file_names_the_setting_and_the_line(
    run: Any, tmp_path: Path, command: str, text: str, said: str
) -> None:
    (tmp_path / "relevo.toml").write_text(text)
    assert re.search(said, refusal(run(command, "--data", str(tmp_path))))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RELEVO_HTP": "x"}, "environment RELEVO_HTP: no such setting; did you mean RELEVO_HTTP?"),
        ({"RELEVO_LIMITS__BATCH_ITEMS": "0"}, "limits.batch_items = '0' from environment RELEVO_LIMITS__BATCH_ITEMS: "),
        ({"RELEVO_OPEN_READS": "perhaps"}, "open_reads = 'perhaps' from environment RELEVO_OPEN_READS: "),
        ({"HISTORY_LIMIT": "none"}, "hidrometro.history_limit = 'none' from environment HISTORY_LIMIT: "),
        ({"RELEVO_TLS_CERT": "/x.pem"}, "tls_cert and tls_key must be set together"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    run: Any, tmp_path: Path, env: dict[str, str], said: str
) -> None:
    assert said in refusal(run("settings", "--data", str(tmp_path), **env))


def test_a_mistake_in_a_secret_does_not_show_it(run: Any, tmp_path: Path) -> None:
    password = "hunter2" * 200
    assert "hunter2" not in refusal(run("settings", "--data", str(tmp_path), RELEVO_ADMIN_PASSWORD=password))
    url = "mongodb://relevo:hunter2@db.example"
    assert "hunter2" not in refusal(run("settings", "--data", str(tmp_path), RELEVO_DATABASE_URL=url))


def test_a_settings_file_that_does_not_exist_is_named(run: Any, tmp_path: Path) -> None:
    said = refusal(run("settings", "--config", str(tmp_path / "none.toml")))
    assert f"settings file {tmp_path}/none.toml (option --config) cannot be read" in said


# doctor


def doctor(run: Any, data: Path, *options: str) -> Result:
    # A machine for tests may allow few open files; that is not what is looked at here.
    free = ("--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
    result: Result = run("doctor", "--data", str(data), *free, *options, RELEVO_LIMITS__CONNECTIONS="10")
    assert result.stdout == ""
    return result


def test_doctor_ends_with_0_when_everything_is_well_and_changes_nothing(run: Any, tmp_path: Path) -> None:
    result = doctor(run, tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "FAIL" not in result.stderr
    assert all(line.startswith("ok  ") for line in result.stderr.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_doctor_ends_with_1_and_says_what_to_do(run: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        result = doctor(run, tmp_path, "--mqtt", f"127.0.0.1:{port}")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    (failed,) = [n for n, line in enumerate(lines) if line.startswith("FAIL")]
    assert f"mqtt 127.0.0.1:{port}" in lines[failed]
    assert "--mqtt HOST:PORT" in lines[failed + 1]


def test_doctor_finds_a_database_that_is_none(run: Any, tmp_path: Path) -> None:
    (tmp_path / "relevo.db").write_bytes(b"no database" * 1_000)
    result = doctor(run, tmp_path)
    assert result.exit_code == 1
    assert "restore a backup" in result.stderr
