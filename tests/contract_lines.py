"""``docs/contracts.md``: every binding line of the contracts with the tests that hold it.

    python -m tests.contract_lines > docs/contracts.md
    python -m tests.contract_lines --missing        # lines that no test is named for

A line is a row of a table, an item of a list or a paragraph that is marked *seed* or *rule*, and every acceptance
check.
``docs/contracts/tests.toml`` says which tests hold it, or why there is nothing to test.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
TEXTS: Final = ROOT / "docs" / "contracts"
CONTRACTS: Final = ("autocore", "hidrometro", "emqx", "thingsnxt", "alchemy")
_MARK: Final = re.compile(r"\b(seed|rule)\b")
_SECTION: Final = re.compile(r"#{2,3} ([0-9.]+?)\.? ")
_CHECK: Final = re.compile(r"([0-9]+)\. ")
_OTHER: Final = re.compile(r"\bobserved\b")
_HEAD: Final = re.compile(r"\|(---|.*\| ?Mark ?\|$)|\| ?(Command payload|Field|Method and path|What|Resource) ?\|")
_SHOWN: Final = 150
# Who speaks a contract is no promise about what is said.
_NOT_BINDING: Final = frozenset({"", "1"})


class Line(NamedTuple):
    """``id`` is the section and a count within it; for acceptance checks ``check`` is their number."""

    contract: str
    id: str
    marks: tuple[str, ...]
    text: str
    check: int = 0


def lines(contract: str) -> Iterator[Line]:
    """The binding lines of a contract, in their order."""
    section, count, checks, code = "", 0, False, False
    inherited: tuple[str, ...] = ()
    for block in (TEXTS / f"{contract}.md").read_text("utf-8").splitlines():
        if block.startswith("```"):
            code = not code
            continue
        if code or not block.strip():
            continue
        if found := _SECTION.match(block):
            section, count = found[1], 0
            checks = "Acceptance checks" in block
            # A mark in a heading, or before a colon, holds for what follows and has none of its own.
            inherited = _marks(block)
            continue
        if checks:
            if found := _CHECK.match(block):
                yield Line(contract, f"check {found[1]}", (), block[found.end() :].strip(), int(found[1]))
            continue
        if _HEAD.match(block):
            continue
        marks = _marks(block) or (() if _OTHER.search(block) else inherited)
        if marks and block.endswith("):"):
            inherited = marks
            continue
        if section not in _NOT_BINDING and marks:
            count += 1
            yield Line(contract, f"{section}-{count}", marks, re.sub(r"^([-*|]|[0-9]+\.) *", "", block).strip(" |"))


def _marks(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_MARK.findall(text)))


class Held(NamedTuple):
    """What ``tests.toml`` says of a line."""

    tests: list[str]
    note: str


def held() -> dict[tuple[str, str], Held]:
    """By contract and line. A text in place of a list is why nothing is tested."""
    table = tomllib.loads((TEXTS / "tests.toml").read_text("utf-8"))
    return {
        (contract, name): Held([], said) if isinstance(said, str) else Held(said, "")
        for contract, entries in table.items()
        for name, said in entries.items()
    }


def named() -> dict[str, list[str]]:
    """Every test function with the files that have it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text("utf-8"), re.M):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def holders(line: Line, table: dict[tuple[str, str], Held], known: dict[str, list[str]]) -> list[str]:
    """The names of the tests that hold ``line``: those of an acceptance check carry its number."""
    if line.check:
        start = f"test_{line.contract}_{line.check:02}_"
        return [one for one in known if one.startswith(start)]
    return table.get((line.contract, line.id), Held([], "")).tests


def page() -> str:
    """The page as Markdown."""
    table, known = held(), named()
    out = [
        "# The contracts and their tests",
        "",
        "Made by `python -m tests.contract_lines`; a test holds it true. Every line marked *seed* or *rule*, and",
        "every acceptance check, with its tests. The texts are in [contracts/](contracts/README.md).",
        "",
    ]
    for contract in CONTRACTS:
        out += [f"## {contract}", "", "| Line | Mark | Says | Held by |", "|---|---|---|---|"]
        for line in lines(contract):
            where = []
            for one in holders(line, table, known):
                files = known.get(one, [])
                where.append(f"[{one.removeprefix('test_')}](../{files[0]})" if files else one)
            says = line.text if len(line.text) <= _SHOWN else line.text[:_SHOWN].rsplit(" ", 1)[0] + " …"
            # A cut may leave half of a pair of marks behind.
            says = (
                says.replace("|", "\\|") + ("`" if says.count("`") % 2 else "") + ("**" if says.count("**") % 2 else "")
            )
            note = table.get((contract, line.id), Held([], "")).note
            out.append(f"| {line.id} | {', '.join(line.marks)} | {says} | {', '.join(where) or note} |")
        out.append("")
    return "\n".join(out)


def missing() -> list[Line]:
    """Lines without a test or a reason."""
    table, known = held(), named()
    return [
        line
        for contract in CONTRACTS
        for line in lines(contract)
        if not holders(line, table, known) and not table.get((contract, line.id), Held([], "")).note
    ]


if __name__ == "__main__":
    if "--missing" in sys.argv:
        for one in missing():
            sys.stdout.write(f"{one.contract} {one.id}: {one.text}\n")
    else:
        sys.stdout.write(page())
