"""``relevo simulate`` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relevo import cli
from relevo.simulator import faults, outcomes
from relevo.simulator.profiles import PROFILES
from tests.running import ADMIN_PASSWORD, REPOSITORY, RunningServer

PAGE = (REPOSITORY / "docs" / "simulator.md").read_text()


def test_a_simulation_with_faults_prints_its_report_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        line = [
            sys.executable, "-m", "relevo", "simulate", "--profile", "climate", "--devices", "4", "--rate", "40",
            "--count", "40", "--fault", "duplicates=0.5", "--fault", "malformed=0.5,storm", "--remove",
            "--http", server.http, "--mqtt", f"127.0.0.1:{server.mqtt_port}",
        ]  # fmt: skip
        env = os.environ | {"RELEVO_ADMIN_PASSWORD": ADMIN_PASSWORD}
        ended = subprocess.run(line, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        report = json.loads(ended.stdout)
        assert (report["profile"], report["sent"], report["acknowledged"], report["missing"]) == ("climate", 40, 40, 0)
        assert report["faults"]["malformed"] == sum(report["refused"].values()) > 0
        assert server.api.get("/api/v1/devices").json()["items"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fault", "earthquake=1"], "no fault 'earthquake'"),
        (["--updates", "explodes"], "no outcome of an update 'explodes'"),
        (["--profile", "toaster"], "no profile 'toaster'"),
        (["--mqtt", "nowhere"], "--mqtt"),
        (["--real-firmware", "2", "--fault", "flap=0.1"], "real firmware takes no fault"),
        (["--real-firmware", "2", "--profile", "toaster"], "no profile 'toaster'"),
    ],
)
def test_what_makes_no_sense_is_said(options: list[str], words: str) -> None:
    ended = CliRunner().invoke(cli.app, ["simulate", "--password", "p", *options])
    assert ended.exit_code == 2
    assert words in ended.output


def test_every_fault_outcome_and_profile_is_on_the_page() -> None:
    assert [name for name in (*faults.KINDS, *outcomes.KINDS, *PROFILES) if f"| `{name}` |" not in PAGE] == []
