"""What opens chunks, in a process of its own: ``python -m relevo.store.history.worker DATABASE [idle]``.

The server has no room for the libraries that read and make chunks, and months of readings would hold up those of this
moment. Requests come in on standard input and answers go out on standard output, each a length of four bytes and
MessagePack: :class:`PageWanted` is answered with a page; :class:`StepWanted` and :class:`RepackWanted` with a
:class:`chunks.Step` or nothing, :class:`RollWanted` with a :class:`rollups.RollStep` or
nothing, :class:`TrimWanted` with a :class:`trimming.Trim`, :class:`ScrubWanted` with a
:class:`relevo.store.erasing.Scrub` or nothing; what is in :mod:`asking` with the bytes of a JSON body.
The database is only read. With ``idle`` it runs when nothing else wants to, else at a lower priority than the server.
"""

import contextlib
import gc
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import msgspec

from relevo.domain.keeping import Limits
from relevo.errors import Invalid
from relevo.store import erasing
from relevo.store.db import open_reader
from relevo.store.erasing import Scrub
from relevo.store.history import chunks
from relevo.store.history.asking import AggregatesWanted, ChartWanted, CompletenessWanted, PageWanted
from relevo.store.history.chunks import Progress, Step
from relevo.store.history.rollups import RollStep
from relevo.store.history.series import Page, Said, newest, read
from relevo.store.history.tails import Tails
from relevo.store.history.trimming import Trim, next_trim


class NewestWanted(msgspec.Struct, array_like=True, tag="newest"):
    """The newest values of a device, see :func:`series.newest`."""

    device: str
    most: int
    since: int


class StepWanted(msgspec.Struct, array_like=True, tag="step"):
    """The next step of compaction, of about ``rows`` rows; the one before is committed."""

    rows: int


class RepackWanted(msgspec.Struct, array_like=True, tag="repack"):
    """A step that joins small chunks, of devices with numbers behind ``after``, dropping about ``rows`` at most."""

    after: int
    rows: int


class TrimWanted(msgspec.Struct, array_like=True, tag="trim"):
    """The next ``rows`` rows of the journal whose readings go, up to the number ``through``."""

    through: int
    rows: int


class RollWanted(msgspec.Struct, array_like=True, tag="roll"):
    """A step of about ``rows`` rows for the roll-ups of series behind ``after``, see :mod:`rolling`."""

    after: int
    rows: int
    zone: str
    zones: bool


class ExpireWanted(msgspec.Struct, array_like=True, tag="expire"):
    """A step of about ``rows`` rows that takes out what has to go, of series with numbers behind ``after``. ``zone`` is
    that of devices without a site."""

    after: int
    rows: int
    zone: str
    limits: Limits


class ScrubWanted(msgspec.Struct, array_like=True, tag="scrub"):
    """The next step of erasing what is removed, of about ``rows`` rows."""

    rows: int


class Answer(msgspec.Struct, array_like=True):
    """``error`` says what went wrong; ``after`` is how far devices were looked at (:class:`RepackWanted`) or series
    (:class:`RollWanted`).

    ``body`` is JSON for whoever asked, ``nothing`` that there is nothing of what was asked for, and ``refused`` the
    reason, parameter and message of a question that has no answer. ``position`` is where the next page begins.
    """

    error: str = ""
    page: Page | None = None
    step: Step | None = None
    after: int = 0
    trim: Trim | None = None
    newest: list[Said] | None = None
    roll: RollStep | None = None
    body: bytes = b""
    nothing: bool = False
    position: tuple[int, int] | None = None
    refused: tuple[str, str, str] | None = None
    scrub: Scrub | None = None


Wanted: TypeAlias = (
    PageWanted
    | NewestWanted
    | StepWanted
    | RepackWanted
    | RollWanted
    | TrimWanted
    | ExpireWanted
    | ScrubWanted
    | ChartWanted
    | AggregatesWanted
    | CompletenessWanted
)

_NICER: Final = 5
encode = msgspec.msgpack.Encoder().encode
decode_wanted = msgspec.msgpack.Decoder(Wanted).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def frames(stream: BinaryIO) -> Iterator[bytes]:
    while head := stream.read(4):
        yield stream.read(int.from_bytes(head))


class Work:
    """What is under way in this process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tails = Tails(connection)
        self._steps: Iterator[Step] | None = None
        self._rows = 1

    def answer(self, wanted: Wanted) -> Answer:
        if isinstance(wanted, PageWanted) and wanted.json:
            from relevo.store.history import questions

            questions.remembered.renew(time.monotonic())
            body, position, nothing = questions.page(self._connection, self._tails, wanted, wanted.json == "quality")
            return Answer(body=body, position=position, nothing=nothing)
        if isinstance(wanted, PageWanted):
            from relevo.store.history.openers import open_points

            one = wanted
            span = (one.start, one.end, one.limit, one.after, one.since)
            return Answer(page=read(self._connection, open_points, one.device, one.key, *span, self._tails.scan))
        if isinstance(wanted, NewestWanted):
            from relevo.store.history.openers import open_points

            return Answer(newest=newest(self._connection, open_points, *msgspec.structs.astuple(wanted)))
        if isinstance(wanted, StepWanted):
            return Answer(step=self._step(wanted.rows))
        if isinstance(wanted, TrimWanted):
            return Answer(trim=next_trim(self._connection, wanted.through, wanted.rows))
        if isinstance(wanted, ScrubWanted):
            return Answer(scrub=erasing.next_scrub(self._connection, wanted.rows))
        if isinstance(wanted, RepackWanted):
            return self._repack(wanted)
        if isinstance(wanted, RollWanted):
            from relevo.store.history import rolling

            step, after = rolling.next_step(self._connection, wanted.zone, wanted.after, wanted.rows, wanted.zones)
            return Answer(roll=step, after=after)
        if isinstance(wanted, ExpireWanted):
            from relevo.store.history import expiring

            limits = wanted.limits
            step, after = expiring.next_step(self._connection, wanted.zone, wanted.after, wanted.rows, limits)
            return Answer(roll=step, after=after)
        from relevo.store.history import questions

        questions.remembered.renew(time.monotonic())
        try:
            body, nothing = questions.answer(self._connection, self._tails, wanted)
        except Invalid as refused:
            field = refused.errors[0].field if refused.errors else ""
            return Answer(refused=(refused.reason, field, refused.message))
        return Answer(body=body, nothing=nothing)

    def _step(self, rows: int) -> Step | None:
        """Nothing says that the pass is over."""
        from relevo.store.history import compaction

        self._rows = rows
        if self._steps is None:
            of = compaction.read_range(self._connection)
            self._steps = compaction.steps(self._connection, of, lambda: self._rows)
        step = next(self._steps, None)
        if step is None:
            self._steps = None
        return step

    def _repack(self, wanted: RepackWanted) -> Answer:
        from relevo.store.history import compaction

        rows = self._connection.execute("SELECT number FROM devices WHERE number > ? ORDER BY number", (wanted.after,))
        after = wanted.after
        for (device,) in rows.fetchall():
            unit = compaction.repack(self._connection, device, wanted.rows)
            if unit is not None:
                found: Progress = chunks.progress(self._connection)
                return Answer(step=Step(found, found, [unit]), after=after)
            after = device
        return Answer(after=after)


def spare_the_collector() -> None:
    """Points make no cycles, and walking a hundred thousand of them takes longer than opening their chunks."""
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)


def serve(answered: Callable[[bytes], bytes]) -> None:
    """Write the answer to each question on standard input, until it ends."""
    # Answers have standard output to themselves, whatever a library prints.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    spare_the_collector()
    try:
        for data in frames(sys.stdin.buffer):
            answers.write(framed(answered(data)))
            answers.flush()
    except BrokenPipeError:
        # Nobody is left to be answered.
        os._exit(0)


def main() -> None:
    """Answer requests until standard input ends."""
    path, idle = Path(sys.argv[1]), sys.argv[2:] == ["idle"]
    if idle:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        # Whoever asks for the past may wait a little; acknowledgements may not.
        with contextlib.suppress(OSError, AttributeError):
            os.nice(_NICER)
    connection = open_reader(path)
    work = Work(connection)

    def answered(data: bytes) -> bytes:
        try:
            answer = work.answer(decode_wanted(data))
        except Exception as error:
            answer = Answer(error=f"{type(error).__name__}: {error}"[:500])
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return encode(answer)

    with contextlib.closing(connection):
        serve(answered)


if __name__ == "__main__":
    main()
