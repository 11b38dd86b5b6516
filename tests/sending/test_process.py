"""The sending process: begun when it is needed, ended when it is not, and nobody's secret in it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relevo.sending.process import SendingProcess
from tests.post import MailServer, WebHook, text_of

MESSAGE: dict[str, Any] = {
    "language": "en", "zone": "Europe/Madrid", "name": "Ana", "channel": "mine", "link": "", "at": 1_767_225_600_000,
    "test": False, "more": 0,
    "notices": [
        {"severity": "warning", "source": "rule:r1", "title": "Pump\nstopped", "text": "at 5 %", "device": "Pump 1",
         "at": 1_767_225_600_000}
    ],
}  # fmt: skip


@pytest.fixture
async def sender() -> AsyncIterator[SendingProcess]:
    one = SendingProcess("smtp://127.0.0.1:9", "relevo@example.org")
    yield one
    await one.stop()


def ours() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        # One that has just ended has no command line any more.
        with contextlib.suppress(psutil.Error):
            if "relevo.sending" in " ".join(one.cmdline()):
                found.append(one)
    return found


async def test_it_begins_with_the_first_message_and_ends_after_a_quiet_while() -> None:
    sender = SendingProcess("", "", quiet_s=0.05)
    assert ours() == []
    with WebHook() as hook:
        assert (await sender.send("json", hook.url, MESSAGE, 20)).ok
        assert hook.titles == ["[Warning] Pump stopped · Pump 1"]
        (process,) = ours() or [None]
        if process is not None:
            await asyncio.to_thread(process.wait, 20)
        assert not sender.running
        assert (await sender.send("json", hook.url, MESSAGE, 20)).ok
    await sender.stop()


async def test_one_that_was_killed_begins_anew(sender: SendingProcess) -> None:
    with WebHook() as hook:
        assert (await sender.send("json", hook.url, MESSAGE, 20)).ok
        (process,) = ours()
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [process], 20)
        outcomes = [await sender.send("json", hook.url, MESSAGE, 20) for _ in range(2)]
        assert outcomes[-1].ok


async def test_what_hangs_is_ended_in_time_and_holds_nobody_up_later(sender: SendingProcess) -> None:
    asleep = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: dict[str, Any]) -> int:
        asyncio.run_coroutine_threadsafe(asleep.wait(), loop).result(30)
        return 200

    with WebHook(hang) as hook, WebHook() as other:
        assert (await sender.send("json", other.url, MESSAGE, 20)).ok
        outcome = await sender.send("json", hook.url, MESSAGE, 0.3)
        assert outcome == (False, "no outcome within 0.3 s", False)
        assert (await sender.send("json", other.url, MESSAGE, 20)).ok
        asleep.set()


async def test_it_sees_nothing_of_our_secrets(sender: SendingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEVO_ADMIN_PASSWORD", "correct-horse")
    monkeypatch.setenv("SOMETHING_ELSE", "of-ours")
    with WebHook() as hook:
        assert (await sender.send("json", hook.url, MESSAGE, 20)).ok
        seen = Path(f"/proc/{ours()[0].pid}/environ").read_bytes()
    assert b"correct-horse" not in seen
    assert b"of-ours" not in seen


async def test_mail_is_told_apart_by_what_the_server_says() -> None:
    with MailServer() as post:
        sender = SendingProcess(post.url, "relevo@example.org")
        assert (await sender.send("email", "ana@example.org", MESSAGE, 20)).ok
        (mail,) = post.mails
        assert mail["Subject"] == "[Warning] Pump stopped · Pump 1"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert "1 Jan 2026, 01:00:00 (Europe/Madrid)" in text_of(mail)
        post.refuse = "450 come back later"
        later = await sender.send("email", "ana@example.org", MESSAGE, 20)
        assert (later.ok, later.permanent) == (False, False)
        post.refuse = "550 nobody here"
        never = await sender.send("email", "ana@example.org", MESSAGE, 20)
        assert (never.ok, never.permanent) == (False, True)
        await sender.stop()
    gone = SendingProcess(post.url, "relevo@example.org")
    unreachable = await gone.send("email", "ana@example.org", MESSAGE, 20)
    assert (unreachable.ok, unreachable.permanent) == (False, False)
    assert "cannot be reached" in unreachable.detail
    await gone.stop()


@pytest.mark.parametrize(("status", "permanent"), [(401, True), (404, True), (429, False), (500, False), (503, False)])
async def test_services_are_told_apart_by_their_status(sender: SendingProcess, status: int, permanent: bool) -> None:
    with WebHook(lambda _: status) as hook:
        outcome = await sender.send("json", hook.url, MESSAGE, 20)
    assert (outcome.ok, outcome.permanent) == (False, permanent)
    assert str(status) in outcome.detail


async def test_many_leave_beside_each_other(sender: SendingProcess) -> None:
    with WebHook() as hook:
        outcomes = await asyncio.gather(*(sender.send("json", hook.url, MESSAGE, 30) for _ in range(20)))
        assert all(one.ok for one in outcomes)
        assert len(hook.bodies) == 20
