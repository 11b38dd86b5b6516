"""The description holds under generated requests: no 5xx, no status and no content type it does not name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import RunningServer

# A nightly run sets more; a few an operation find what a change breaks.
EXAMPLES = os.environ.get("RELEVO_EXAMPLES", "3")


@pytest.mark.timeout(300)
def test_generated_requests_get_described_answers(tmp_path: Path) -> None:
    env = {f"RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_{kind}": "0" for kind in ("USER", "ADDRESS")}
    env["RELEVO_THINGSNXT__REQUESTS_PER_MINUTE"] = "0"
    with RunningServer(tmp_path / "data", env=env) as server:
        key = server.api.post("/api/v1/keys", json={"name": "generated", "scopes": ["manage"]}).json()["key"]
        server.register("one")
        server.api.post("/api/v1/devices/one/telemetry", json={"v": 1})
        command = [
            sys.executable, "-m", "schemathesis.cli", f"--config-file={Path(__file__).parent / 'schemathesis.toml'}",
            "run", f"{server.http}/openapi.json", "-H", f"Authorization: Bearer {key}", "--checks", "all",
            # They do not end.
            "--exclude-path", "/api/v1/stream", "--exclude-path", "/api/v1/devices/{device_id}/raw",
            "--exclude-path", "/stream/dispositivos",
            "--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1", "--no-color",
            "--request-timeout", "10", "--continue-on-failure",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        # Generated requests may well have changed or removed the account that this server's client uses.
        server.canaries.planted = {key}
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        assert "operations" in done.stdout.lower()
