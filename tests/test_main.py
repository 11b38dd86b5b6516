"""What the program leaves out of memory, and that nothing misses it."""

import subprocess
import sys

from tests.running import REPOSITORY

# Each is megabytes, or the door to them, that a server at rest has no use for.
UNNEEDED = (
    "alembic", "argon2", "click", "cryptography", "greenlet", "multiprocessing", "prometheus_client",
    "pydantic.v1", "rich", "segno", "sqlalchemy.dialects.postgresql", "sqlalchemy.orm",
    "relevo.cli", "relevo.cli_why", "tomllib", "urllib.request", "wrapt", "zeroconf", "zxcvbn",
    # What only some installations use comes with its first use.
    "relevo.http.alchemy.routes", "relevo.http.api.devices", "relevo.http.api.rules", "relevo.http.thingsnxt.accounts",
    "relevo.http.hidrometro.asking", "relevo.http.hidrometro.pages", "relevo.http.hidrometro.words",
    "relevo.http.emqx.mqtt", "relevo.http.emqx.accounts",
    "apprise", "astral", "babel", "cel", "engineio", "httpx", "jinja2", "socketio", "standardwebhooks",
    # What opens history is in a process of its own.
    "numpy", "pcodec", "relevo.store.history.buckets", "relevo.store.history.compaction",
    "relevo.store.history.layout", "relevo.store.history.past", "relevo.store.history.questions",
    "relevo.store.history.rolling", "zstandard",
    "relevo.http.api.backups", "relevo.store.archive", "relevo.store.checking", "relevo.store.salvage",
    # What makes and reads files, too.
    "pyarrow", "relevo.exchange.exporting", "relevo.exchange.importing", "relevo.exchange.sources",
)  # fmt: skip


def run(program: str) -> str:
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_server_that_is_loaded_carries_nothing_that_it_does_not_use() -> None:
    program = """
import sys
from relevo import __main__
__main__.prepare()
import relevo.app, relevo.cli_serving, relevo.simulator.demo
print(*(name for name, module in sys.modules.items() if module is not None))
"""
    loaded = set(run(program).split())
    assert "relevo.app" in loaded
    assert not loaded.intersection(UNNEEDED)
