"""Expressions over the newest values of a device, in the Common Expression Language (CEL).

``flow > 2.5 && (pressure - 1) * 2 < level``: names are keys of the device, values are numbers, booleans and texts, and
all numbers are floating point, so that ``level / 2`` of 3 is 1.5. What could take long is refused before it is
compiled: the whole has at most 300 characters, and there are no lists, maps, macros and no other functions than those
of :data:`FUNCTIONS`, so that what it costs is bounded by how long it is. The library is imported with the first one.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

TEXT_LIMIT: Final = 300
FUNCTIONS: Final = frozenset({"contains", "startsWith", "endsWith", "double", "string"})
_WORDS: Final = frozenset({"true", "false", "null"})
# Reserved by the language; none of them can be a key here.
_RESERVED: Final = frozenset(
    {
        *("in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)
_TOKEN: Final = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>(?:[0-9]+\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_]))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>&&|\|\||[<>=!]=|[<>!?:+\-*/%(),.])
      | (?P<space>\s+)""",
    re.VERBOSE | re.ASCII,
)


class Expression(NamedTuple):
    """An expression that was let in: the text that is compiled, and the keys it names."""

    source: str
    keys: tuple[str, ...]


def read_expression(text: str) -> tuple[Expression | None, str]:
    """The expression, or why it is not let in. Never raises."""
    if not 1 <= len(text) <= TEXT_LIMIT:
        return None, f"must have 1 to {TEXT_LIMIT} characters"
    source: list[str] = []
    keys: dict[str, None] = {}
    at, before = 0, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None, f"has {text[at]!r} at {at + 1}, which is not understood here"
        token, kind = found[0], found.lastgroup
        at = found.end()
        if kind == "number" and "." not in token and "e" not in token.lower():
            token += ".0"
        if kind == "name":
            called = text[at:].lstrip().startswith("(")
            if called and token not in FUNCTIONS:
                return None, f"calls {token[:32]}; may be {', '.join(sorted(FUNCTIONS))}"
            if token in _RESERVED:
                return None, f"has {token}, which is no key and no operator here"
            if not called and before == ".":
                return None, f"has .{token[:32]}: a value has nothing inside"
            if not called and token not in _WORDS:
                keys[token] = None
        source.append(token)
        if kind != "space":
            before = token
    if not keys:
        return None, "names no key of a device"
    read = Expression("".join(source), tuple(keys))
    try:
        _compiled(read.source)
    except ValueError as error:
        said = " ".join(str(error).split())
        return None, f"is no expression: {said[:160]}"
    return read, ""


def holds(source: str, values: Mapping[str, Any]) -> bool | None:
    """Whether it is true of ``values``; ``None`` when that cannot be said, such as a text compared with a number."""
    numbers = {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in values.items()
    }
    try:
        answer = _compiled(source).execute(numbers)
    except (ValueError, RuntimeError, TypeError, OverflowError):
        return None
    except BaseException as error:
        # A mistake inside the library, which its bindings do not derive from Exception.
        if type(error).__name__ != "PanicException":
            raise
        return None
    return answer if isinstance(answer, bool) else None


@lru_cache(maxsize=1_024)
def _compiled(source: str) -> Any:
    """Raises ``ValueError``."""
    import cel

    return cel.compile(source)
