"""Readings that wait until they are acknowledged: some in memory, older ones in small files, all numbered.

``boot`` counts the starts of the board and ``seq`` the readings since, so a receiver knows what it has already. Files
are written a segment at a time, read back from the oldest, and removed when all of a segment is acknowledged. Beyond
:data:`SEGMENTS` files the oldest goes, and what it held is counted as dropped.
"""

import json
import os

RING = 16
SEGMENTS = 16


def clean(values):
    """``values`` without what no receiver could take (not a number, infinite), and how many of them went."""
    kept = {}
    for name in values:
        value = values[name]
        if not isinstance(value, float) or value - value == 0:
            kept[name] = value
    return kept, len(values) - len(kept)


def count_boot(path="boot"):
    """The number of this start, kept in a file. Raises OSError."""
    try:
        with open(path) as file:
            boot = int(file.read()) + 1
    except (OSError, ValueError):
        boot = 1
    with open(path, "w") as file:
        file.write(str(boot))
    return boot


class Outbox:
    """``clock`` tells milliseconds and, when it is known, the time of day; ``place`` is a folder of its own."""

    def __init__(self, clock, boot, place="out", ring=RING, segments=SEGMENTS):
        self._clock = clock
        self._boot = boot
        self._place = place
        self._ring_most = ring
        self._most = segments
        self._seq = 0
        # What is being sent: [boot, seq, ms, unix, text, identifier or 0], from the file of this name or from memory.
        self._head = []
        self._head_file = None
        self._ring = []
        try:
            names = os.listdir(place)
        except OSError:
            names = []
            os.mkdir(place)
        self._files = sorted(int(name) for name in names if name.isdigit())
        self.dropped = 0

    def __len__(self):
        """How many wait, of files an estimate."""
        return len(self._head) + len(self._ring) + len(self._files) * self._ring_most

    def add(self, values):
        """Take a reading."""
        values, bad = clean(values)
        self.dropped += bad
        if not values:
            return
        self._seq += 1
        if len(self._ring) >= self._ring_most:
            self.spill()
        self._ring.append([self._boot, self._seq, self._clock.ms(), self._clock.unix(), json.dumps(values), 0])

    def spill(self):
        """Write what is in memory, also before a restart that is meant."""
        number = max(self._files[-1] if self._files else 0, self._head_file or 0) + 1
        try:
            if self._head and self._head_file is None:
                self._write(number, self._head)
                self._head_file = number
                number += 1
            if self._ring:
                self._write(number, self._ring)
                self._files.append(number)
        except OSError:
            # The flash is full or broken: what is newest counts most.
            self._ring.pop(0)
            self.dropped += 1
            return
        self._ring = []
        while len(self._files) > self._most:
            gone = self._files.pop(0)
            self.dropped += len(self._read(gone))
            self._remove(gone)

    def _write(self, number, entries):
        with open("%s/%d" % (self._place, number), "w") as file:
            for entry in entries:
                file.write(json.dumps(entry[:5]))
                file.write("\n")

    def _read(self, number):
        entries = []
        try:
            with open("%s/%d" % (self._place, number)) as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                        boot, seq, ms, unix, text = entry
                        json.loads(text)
                    except (ValueError, TypeError):
                        self.dropped += 1
                        continue
                    entries.append([boot, seq, ms, unix, text, 0])
        except OSError:
            pass
        return entries

    def _remove(self, number):
        try:
            os.remove("%s/%d" % (self._place, number))
        except OSError:
            pass

    def next(self):
        """The oldest that is not on its way, or ``None``."""
        while not self._head:
            if self._files:
                number = self._files.pop(0)
                self._head = self._read(number)
                self._head_file = number if self._head else None
                if not self._head:
                    self._remove(number)
            elif self._ring:
                self._head, self._ring = self._ring, []
            else:
                return None
        for entry in self._head:
            if not entry[5]:
                return entry
        return None

    def age(self, entry):
        """Milliseconds since it was taken, or ``None`` for one of an earlier start whose time nobody knew."""
        if entry[0] == self._boot:
            return self._clock.ms() - entry[2]
        now = self._clock.unix()
        return (now - entry[3]) * 1000 if entry[3] and now >= entry[3] else None

    def acked(self, pid):
        """What left as ``pid`` is stored at the other side."""
        for at in range(len(self._head)):
            if self._head[at][5] == pid:
                self._head.pop(at)
                break
        if not self._head and self._head_file is not None:
            self._remove(self._head_file)
            self._head_file = None

    def lost(self):
        """The connection ended: what was on its way leaves again."""
        for entry in self._head:
            entry[5] = 0
