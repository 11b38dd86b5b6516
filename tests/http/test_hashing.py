import asyncio
import os
import signal
from pathlib import Path

import pytest

from relevo.domain.passwords import normalised
from relevo.http import hashing
from relevo.http.hashing import Hashing, hash_now


def children() -> list[int]:
    """Processes of ours that hash."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
                if parent == os.getpid() and alive and b"PasswordHasher" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def until(probe: object) -> None:
    async with asyncio.timeout(5):
        while not probe():  # type: ignore[operator]
            await asyncio.sleep(0.01)


@pytest.fixture
async def one() -> Hashing:
    made = Hashing()
    yield made  # type: ignore[misc]
    await made.stop()
    assert not children()


async def test_what_is_hashed_fits_and_nothing_else_does(one: Hashing) -> None:
    text = normalised("pässwörd with \n in it")
    kept = await one.hash(text)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await one.fits(text, kept)
    assert not await one.fits(text + "x", kept)
    assert not await one.fits(text, "no hash at all")
    assert await one.fits("early", hash_now("early"))
    assert len(children()) == 1


async def test_many_at_once_get_their_own_answers(one: Hashing) -> None:
    kept = await one.hash("right")
    words = ["right", "wrong"] * 10
    assert await asyncio.gather(*(one.fits(word, kept) for word in words)) == [word == "right" for word in words]


async def test_one_that_was_killed_is_started_again(one: Hashing) -> None:
    kept = await one.hash("right")
    os.kill(children()[0], signal.SIGKILL)
    assert await one.fits("right", kept)


async def test_whoever_gives_up_leaves_no_answer_to_the_next(one: Hashing) -> None:
    kept = await one.hash("right")
    tasks = [asyncio.create_task(one.fits("right", kept)) for _ in range(3)]
    await asyncio.sleep(0.005)
    tasks[0].cancel()
    assert not await one.fits("wrong", kept)
    assert await tasks[1]
    assert await tasks[2]


async def test_it_ends_when_nobody_asks(one: Hashing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "QUIET_S", 0.05)
    kept = await one.hash("right")
    await until(lambda: not children())
    assert await one.fits("right", kept)


async def test_passwords_stand_in_no_command_line_and_no_environment(one: Hashing) -> None:
    await one.hash("canary-of-a-password")
    (pid,) = children()
    for name in ("cmdline", "environ"):
        assert b"canary-of-a-password" not in Path(f"/proc/{pid}/{name}").read_bytes()


async def test_it_has_idle_priority_and_ends_with_its_parent(one: Hashing) -> None:
    await one.hash("right")
    (pid,) = children()
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert one._process is not None
    stdin = one._process[0].get_pipe_transport(0)
    assert stdin is not None
    stdin.close()
    await until(lambda: not children())
