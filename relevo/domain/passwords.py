"""Rules for passwords that people choose (NIST SP 800-63B, section 3.1.1.2): length and a list of common ones.

No rules of composition: they make people choose ``Password1!``.
"""

import unicodedata
from collections.abc import Callable, Collection
from typing import Final

from relevo.errors import FieldError, Invalid

SHORTEST: Final = 8
LONGEST: Final = 256


def normalised(password: str) -> str:
    """The form that is hashed: the same characters from another keyboard are the same password (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check_password(
    password: str, common: Callable[[], Collection[str]], about: tuple[str, ...] = (), field: str = "password"
) -> str:
    """The normalised password. Raises :class:`Invalid` when it is too short, too long, common or the person's name.

    ``common`` gives common passwords in lower case; ``about`` are the person's name and address.
    """
    text = normalised(password)
    if len(text) < SHORTEST:
        raise _refused(field, "password_too_short", f"{field} must have at least {SHORTEST} characters")
    if len(text) > LONGEST:
        raise _refused(field, "password_too_long", f"{field} must have at most {LONGEST} characters")
    folded = text.casefold()
    if any(word and folded == word.casefold() for word in about):
        raise _refused(field, "password_is_the_name", f"{field} must not be the user's own name or address")
    if folded in common() or len(set(folded)) == 1:
        raise _refused(field, "password_common", f"{field} is one of those that everybody tries first")
    return text


def _refused(field: str, reason: str, message: str) -> Invalid:
    return Invalid(reason, message, [FieldError(field, message, reason)])
