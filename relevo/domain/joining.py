"""How strangers become devices: what a code looks like, and which codes and decisions about strangers there are.

Theory. An identity is a pair of contract and external id. While codes are out for one, whoever takes the device has to
show one of them, except administrators and whoever made those codes: a serial number can be guessed and is often
visible, a code cannot. Two people who take the same identity at the same moment are kept apart by
:meth:`Claims.taking`, because the registry follows commits only.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Final

from relevo.domain.claims import ClaimCode, Screening, identity_key
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.times import is_over
from relevo.errors import Conflict, FieldError, Invalid

ALPHABET: Final = "2346789ACDEFGHJKMNPQRTUWXY"
"""Without 0 O, 1 I L, 5 S, and one each of 8 B, 2 Z, U V."""
CODE_LENGTH: Final = 15
CODE_BITS: Final = CODE_LENGTH * math.log2(len(ALPHABET))
CODES_MOST: Final = 100_000
_GROUP: Final = 5
_IGNORED: Final = re.compile(r"[\s\-_.\u2010-\u2015\u2212]+")
_ALIKE: Final = str.maketrans("BZV", "82U")


def new_code(choice: Callable[[str], str]) -> str:
    """A fresh code as it is printed; ``choice`` picks one letter at random (``secrets.choice``)."""
    return shown_code("".join(choice(ALPHABET) for _ in range(CODE_LENGTH)))


def shown_code(code: str) -> str:
    """``code`` in groups of five."""
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def read_code(typed: str) -> str:
    """The letters of a code that somebody typed: case, spaces and dashes do not matter.

    Raises :class:`Invalid` (``code_invalid``) for what no label of ours says.
    """
    code = _IGNORED.sub("", typed).upper().translate(_ALIKE)
    if len(code) != CODE_LENGTH or not set(code) <= set(ALPHABET):
        message = f"code must be the {CODE_LENGTH} letters and digits of the label, of {ALPHABET}"
        raise Invalid("code_invalid", message, [FieldError("code", message, "code_invalid")])
    return code


class Claims:
    """Codes and screenings in memory, kept equal to the store. :meth:`apply` follows every commit."""

    def __init__(self) -> None:
        self._codes: dict[str, ClaimCode] = {}
        self._codes_of: dict[str, set[str]] = {}
        self.screenings: dict[str, Screening] = {}
        self._taken: set[str] = set()

    def apply(self, change: RecordChange) -> None:
        """Follow one change; those about other things change nothing."""
        match change:
            case Kept(ClaimCode() as code):
                self._codes[code.id] = code
                self._codes_of.setdefault(identity_key(code.contract, code.external_id), set()).add(code.id)
            case Kept(Screening() as screening):
                self.screenings[screening.id] = screening
            case Dropped(kind, key) if kind is ClaimCode:
                self._forget_code(key)
            case Dropped(kind, key) if kind is Screening:
                self.screenings.pop(key, None)

    def codes(self) -> list[ClaimCode]:
        """Every code, oldest first."""
        return sorted(self._codes.values(), key=lambda one: (one.created_at, one.id))

    def code(self, code_id: str) -> ClaimCode | None:
        return self._codes.get(code_id)

    def codes_of(self, contract: str, external_id: str) -> list[ClaimCode]:
        """The codes of one identity, those whose time is over included."""
        return [self._codes[one] for one in self._codes_of.get(identity_key(contract, external_id), ())]

    def room(self, now_ms: int, more: int = 1) -> list[ClaimCode]:
        """The codes that may be dropped because their time is over.

        Raises :class:`Conflict` when ``more`` new ones would be too many even then.
        """
        if len(self._codes) + more <= CODES_MOST:
            return []
        over = [one for one in self._codes.values() if is_over(one.expires_at, now_ms)]
        if len(self._codes) - len(over) + more > CODES_MOST:
            raise Conflict(f"{len(self._codes)} codes are out, the limit is {CODES_MOST}: delete what is not used")
        return over

    def needs_code(self, contract: str, external_id: str, person: str, now_ms: int) -> bool:
        """Whether somebody else's code is out for this identity."""
        codes = self.codes_of(contract, external_id)
        return any(one.by != person and not is_over(one.expires_at, now_ms) for one in codes)

    def standing(self, contract: str, external_id: str) -> str:
        """``ignored``, ``blocked`` or empty."""
        if not self.screenings:
            return ""
        found = self.screenings.get(identity_key(contract, external_id))
        return found.standing if found is not None else ""

    @contextlib.contextmanager
    def taking(self, contract: str, external_id: str) -> Iterator[None]:
        """While somebody takes an identity nobody else may. Raises :class:`Conflict`."""
        key = identity_key(contract, external_id)
        if key in self._taken:
            raise Conflict(f"somebody is taking {contract} {external_id!r} at this moment")
        self._taken.add(key)
        try:
            yield
        finally:
            self._taken.discard(key)

    def _forget_code(self, key: str) -> None:
        code = self._codes.pop(key, None)
        if code is not None:
            identity = identity_key(code.contract, code.external_id)
            held = self._codes_of[identity]
            held.discard(key)
            if not held:
                del self._codes_of[identity]
