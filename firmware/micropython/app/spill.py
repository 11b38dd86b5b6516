"""The outbox on the flash: numbered files, written a segment at a time, read from the oldest, removed when all of a
segment is acknowledged. Beyond :data:`SEGMENTS` files the oldest goes, and what it held is counted as dropped.
"""

import json
import os

SEGMENTS = 16


def begin(place):
    """The number of this start, kept in a file, and the files that there are. Raises OSError."""
    try:
        with open("boot") as file:
            boot = int(file.read()) + 1
    except (OSError, ValueError):
        boot = 1
    with open("boot.new", "w") as file:
        file.write(str(boot))
    os.rename("boot.new", "boot")
    try:
        names = os.listdir(place)
    except OSError:
        os.mkdir(place)
        names = []
    return boot, sorted(int(name) for name in names if name.isdigit())


def spill(outbox):
    """Write what is in memory."""
    number = max(outbox.files[-1] if outbox.files else 0, outbox.file or 0) + 1
    try:
        if outbox.head and outbox.file is None:
            _write(outbox, number, outbox.head)
            outbox.file = number
            number += 1
        if outbox.ring:
            _write(outbox, number, outbox.ring)
            outbox.files.append(number)
            outbox.ring = []
    except OSError:
        # The flash is full or broken: what is newest counts most.
        if outbox.ring:
            outbox.ring.pop(0)
            outbox.dropped += 1
    while len(outbox.files) > SEGMENTS:
        gone = outbox.files.pop(0)
        outbox.dropped += len(_read(outbox, gone))
        _remove(outbox, gone)


def take(outbox):
    """What the oldest file holds is to be sent."""
    number = outbox.files.pop(0)
    outbox.head = _read(outbox, number)
    if outbox.head:
        outbox.file = number
    else:
        _remove(outbox, number)


def done(outbox):
    """All of the file that was being sent is acknowledged."""
    _remove(outbox, outbox.file)
    outbox.file = None


def _write(outbox, number, entries):
    with open("%s/%d" % (outbox.place, number), "w") as file:
        for entry in entries:
            file.write(json.dumps(entry[:5]))
            file.write("\n")


def _read(outbox, number):
    entries = []
    try:
        with open("%s/%d" % (outbox.place, number)) as file:
            for line in file:
                try:
                    boot, seq, ms, unix, text = json.loads(line)
                    json.loads(text)
                    entries.append([boot, seq, ms, unix, text, 0])
                except (ValueError, TypeError):
                    outbox.dropped += 1
    except (OSError, UnicodeError):
        pass
    return entries


def _remove(outbox, number):
    try:
        os.remove("%s/%d" % (outbox.place, number))
    except OSError:
        pass


def numbered(outbox, entry):
    """The text of an entry with what tells it from others: ``boot``, ``seq`` and, where it is known, ``age_ms``."""
    boot, seq, ms, unix, text, _ = entry
    text = '%s, "boot": %d, "seq": %d' % (text[:-1], boot, seq)
    now = outbox.clock.unix()
    if boot == outbox.boot:
        text += ', "age_ms": %d' % (outbox.clock.ms() - ms)
    elif unix and now >= unix:
        text += ', "age_ms": %d' % ((now - unix) * 1000)
    return text + "}"
