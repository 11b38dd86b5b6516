"""What was done already: the answers to the last commands, by their identifiers.

A command that moves something is noted on the flash before it does: the same one again, also after a reset, gets the
same answer and moves nothing.
"""

import json
import os

LAST = 16
ID_MOST = 64


def ident(value):
    """A usable identifier, as text, or ``None``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= ID_MOST else None


class Done:
    """The last answers, by identifier; those of commands that moved something also in the file ``path``."""

    def __init__(self, path="done"):
        self._path = path
        self._last = []
        self._lines = 0
        try:
            with open(path) as file:
                for line in file:
                    self._lines += 1
                    try:
                        name, answer = json.loads(line)
                        self._keep(str(name), str(answer))
                    except (ValueError, TypeError):
                        # The power went while it was written: the command was not carried out.
                        continue
        except OSError:
            pass

    def _keep(self, name, answer):
        self._last.append((name, answer))
        if len(self._last) > LAST:
            self._last.pop(0)

    def answer(self, name):
        """What was said to the command ``name``, a text, or ``None``."""
        for known, answer in self._last:
            if known == name:
                return answer
        return None

    def note(self, name, answer, moves):
        """Remember ``answer``, a text. Raises OSError when it ``moves`` something and cannot be noted on the flash."""
        if moves:
            if self._lines >= 3 * LAST:
                with open(self._path + ".new", "w") as file:
                    for entry in self._last:
                        file.write(json.dumps(entry) + "\n")
                os.rename(self._path + ".new", self._path)
                self._lines = len(self._last)
            with open(self._path, "a") as file:
                # In front too: half of a line may stand there.
                file.write("\n" + json.dumps((name, answer)) + "\n")
            self._lines += 2
        self._keep(name, answer)
