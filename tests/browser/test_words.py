"""No text of the interface is missing in a language, and none stands in a page without being in all three."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.running import REPOSITORY

INTERFACE = REPOSITORY / "interface"
LANGUAGES = ("en", "es", "pt")
# Names, and words that the languages share.
SHARED = {
    "", "No", "Webhooks", "Webhook", "API", "5 min", "1 h", "6 h", "24 h", "Total", "Online", "Offline", "MQTT",
    "Backups", "Broker", "Brokers", "E-mail", "Firmware",
}  # fmt: skip
NAMES = {"Relevo", "· Relevo"}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    if shutil.which("node") is None or not (INTERFACE / "node_modules/svelte").exists():
        pytest.skip("node or the interface's packages are not here: make interface")
    done = subprocess.run(["node", "tools/words.mjs"], cwd=INTERFACE, capture_output=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert len(found["texts"]) > 200
    return found


def test_every_text_is_there_in_every_language(told: dict[str, Any]) -> None:
    assert [one for one in told["texts"] if any(one.get(code) is None for code in LANGUAGES)] == []


def test_no_text_was_left_in_english(told: dict[str, Any]) -> None:
    same = [one for one in told["texts"] for code in ("es", "pt") if one[code] == one["en"]]
    assert [one for one in same if one["en"] not in SHARED] == []


def test_pages_say_nothing_that_is_not_among_the_words(told: dict[str, Any]) -> None:
    assert [one for one in told["bare"] if one["text"] not in NAMES] == []
