"""What was done already: the answers to the last commands, by their identifiers.

A command that moves something is noted on the flash before it does: the same one again, also after a reset, gets the
same answer and moves nothing. ``done`` is a list of pairs, the newest last.
"""

import json
import os

LAST = 16
PATH = "done"
_FILE_MOST = 4096


def ident(value):
    """A usable identifier, as text, or ``None``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 64 else None


def load():
    """What was noted before this start."""
    done = []
    try:
        with open(PATH) as file:
            for line in file:
                try:
                    name, text = json.loads(line)
                    _keep(done, str(name), str(text))
                except (ValueError, TypeError):
                    # The power went while it was written: the command was not carried out.
                    pass
    except (OSError, UnicodeError):
        pass
    return done


def _keep(done, name, text):
    done.append((name, text))
    if len(done) > LAST:
        done.pop(0)


def answer(done, name):
    """What was said to the command ``name``, a text, or ``None``."""
    for known, text in done:
        if known == name:
            return text
    return None


def note(done, name, text, moves):
    """Remember an answer. Raises OSError when the command ``moves`` something and that cannot be noted on the flash."""
    if moves:
        try:
            long = os.stat(PATH)[6] > _FILE_MOST
        except OSError:
            long = False
        if long:
            with open(PATH + ".new", "w") as file:
                for entry in done:
                    file.write(json.dumps(entry) + "\n")
            os.rename(PATH + ".new", PATH)
        with open(PATH, "a") as file:
            # A line's end in front too: half of a line may stand there.
            file.write("\n" + json.dumps((name, text)) + "\n")
    _keep(done, name, text)
