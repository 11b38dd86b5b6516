"""The samples on the page for receivers do what the page says, with what this server sends."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from relevo.clock import SystemClock
from relevo.domain.deliveries import longest_pause
from relevo.domain.webhooks import Webhook, secret_of
from relevo.jobs.webhook_sender import WebhookSender, retry_after

PAGE = (Path(__file__).parent.parent / "docs" / "webhooks.md").read_text()
BODY = '{"type":"telemetry","data":{"name":"Süd – 22 °C"}}'
HOOK = Webhook("w", "Mine", "https://example.org/", "ana", "ana", "new", 0, former_salt="old", former_until=2**60)


def secret(webhook: str, salt: str) -> str:
    return secret_of(b"key", webhook, salt)


def headers(now: float | None = None) -> dict[str, str]:
    sender = WebhookSender(None, secret, SystemClock())  # type: ignore[arg-type]
    made = sender.headers(HOOK, "msg_w_1", BODY, round((now or time.time()) * 1000))
    return {name.lower(): value for name, value in made}


def sample(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_sample_in_python_verifies_either_secret_and_nothing_else() -> None:
    room: dict[str, Any] = {}
    exec(sample("python"), room)
    for salt in ("new", "old"):
        assert room["verify"](secret("w", salt), headers(), BODY.encode()) == json.loads(BODY)
    for wrong, when, body in (("x", None, BODY), ("new", time.time() - 600, BODY), ("new", None, BODY + " ")):
        with pytest.raises(WebhookVerificationError):
            room["verify"](secret("w", wrong), headers(when), body.encode())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_sample_in_node_does_too(tmp_path: Path) -> None:
    (tmp_path / "verify.mjs").write_text(sample("js"))
    (tmp_path / "run.mjs").write_text(
        'import { verify } from "./verify.mjs"; import fs from "node:fs";\n'
        'for (const one of JSON.parse(fs.readFileSync(0, "utf8"))) {\n'
        "  try { console.log(verify(one.secret, one.headers, one.body).type); } catch (e) { console.log(e.message); }\n"
        "}\n"
    )
    tries = [
        {"secret": secret("w", "new"), "headers": headers(), "body": BODY},
        {"secret": secret("w", "old"), "headers": headers(), "body": BODY},
        {"secret": secret("w", "x"), "headers": headers(), "body": BODY},
        {"secret": secret("w", "new"), "headers": headers(), "body": BODY + " "},
        {"secret": secret("w", "new"), "headers": headers(time.time() - 600), "body": BODY},
    ]
    done = subprocess.run(
        ["node", "run.mjs"], cwd=tmp_path, input=json.dumps(tries), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "telemetry", "telemetry", "wrong signature", "wrong signature", "too old or too new",
    ], done.stderr  # fmt: skip


def test_the_table_of_pauses_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d\d?)(?: and later)? \| ([^|]+) \|$", PAGE, re.MULTILINE)
    units = {"s": 1, "min": 60, "h": 3_600}
    said = {
        int(n): sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+) (s|min|h)", text))
        for n, text in rows
    }
    assert sorted(said) == list(range(2, 12))
    assert said == {n: longest_pause(n - 1, 10_000) // 1000 for n in said}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("120", 120_000),
        (" 7 ", 7_000),
        ("", 0),
        ("-5", 0),
        ("soon", 0),
        ("9" * 50, 999_999_999_000),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120_000),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
    ],
)
def test_both_forms_of_retry_after(text: str, wanted: int) -> None:
    assert retry_after(text, 1_767_225_600_000) == wanted
