"""The command line as a program of its own, for what happens before the server is up."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.running import REPOSITORY


def relevo(
    *arguments: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = (), seconds: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Run ``relevo ARGUMENTS`` to its end in an environment without settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
    clean |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"} | dict(env or {})
    command = [*prefix, sys.executable, "-m", "relevo", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=clean, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


def serve(
    data: Path, *options: str, prefix: Sequence[str] = (), seconds: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """``relevo serve`` that is expected to end by itself; ports are chosen by the system unless given."""
    given = ("--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
    return relevo("serve", "--data", str(data), *given, *options, prefix=prefix, seconds=seconds)


def complaint(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """What the program said when it gave up: one explanation and no trace of its inside."""
    assert ended.returncode == code, ended.stderr[-3_000:]
    assert "Traceback" not in ended.stderr, ended.stderr[-3_000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("relevo: ")]
    assert len(lines) == 1, ended.stderr[-3_000:]
    assert ended.stdout == ""
    return ended.stderr[ended.stderr.index("relevo: ") :]
