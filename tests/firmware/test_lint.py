"""What MicroPython lacks or does differently stays out of the firmware, and none of it grows unnoticed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relevo.errors import Unbuildable
from relevo.flashing import sources
from tests.firmware.boards import APP, FIRMWARE, HOST, compile_file, profile

# Bytes of byte code: of one file, and of the image of one board.
FILE_MOST, IMAGE_MOST = 6400, 56 * 1024
PROFILES = sorted(one.stem for one in (FIRMWARE / "profiles").glob("*.json"))
FILES = sorted(one for place in (APP, FIRMWARE / "launcher") for one in place.glob("*.py"))
# What a board has: built in or frozen.
BOARD_MODULES = {
    "asyncio", "binascii", "deflate", "dht", "errno", "esp32", "gc", "hashlib", "io", "json", "machine", "micropython", "network", "os",
    "select", "socket", "struct", "sys", "time", "tls", "vfs",
}  # fmt: skip
# Where CPython alone comes by.
ELSEWHERE = {("failure", "traceback")}
METHODS = {
    "removeprefix": "str has none", "removesuffix": "str has none", "fullmatch": "re has none",
    "isalnum": "str has none",
    "casefold": "str has none", "zfill": "str has none", "isidentifier": "str has none", "title": "str has none",
    "capitalize": "str has none", "timeout": "asyncio has none", "timeout_at": "asyncio has none",
    "TaskGroup": "asyncio has none", "Queue": "asyncio has none", "to_thread": "asyncio has none",
    "monotonic": "time has none: ticks_ms", "perf_counter": "time has none", "bit_length": "int has none on a board",
    "makedirs": "os has none", "exists": "os has no path", "replace_file": "os has none",
}  # fmt: skip


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text("utf-8"))


def complaints(path: Path, tree: ast.Module) -> Iterator[str]:
    known = {one.stem for one in FILES}
    for node in ast.walk(tree):
        line = f"{path.name}:{getattr(node, 'lineno', 0)}"
        for name in _imported(node):
            root = name.partition(".")[0]
            if root not in known | BOARD_MODULES and (path.stem, root) not in ELSEWHERE:
                yield f"{line}: a board has no module {name}"
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            yield f"{line}: {node.attr}: {METHODS[node.attr]}"
        if isinstance(node, ast.Match | ast.TryStar | ast.AnnAssign):
            yield f"{line}: {type(node).__name__} is not understood, or costs for nothing"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.args.posonlyargs:
                yield f"{line}: positional-only parameters are not understood"
            annotated = [one.annotation for one in [*node.args.args, *node.args.kwonlyargs]]
            if node.returns or any(annotated):
                yield f"{line}: annotations cost memory for nothing"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            if called == "time.time" and path.stem != "clock":
                yield f"{line}: the clock may stand at 2000: ask clock"
            if called in ("time.sleep", "time.sleep_ms"):
                yield f"{line}: {called} blocks everything"
            if called.endswith(".sort") or called == "random.random":
                yield f"{line}: {called} is not the same there"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("late", "__import__"):
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return []


def test_the_firmware_asks_nothing_that_a_board_has_not() -> None:
    found = [one for path, tree in trees() for one in complaints(path, tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "import ssl", "from dataclasses import dataclass", "x.removeprefix('a')", "asyncio.timeout(3)",
        "late('nothing')",
        "def f(a, /): pass", "def f(a: int): pass", "time.time()", "time.sleep(1)", "match x:\n    case 1: pass",
    ],
)  # fmt: skip
def test_what_the_lint_is_for_is_found(text: str) -> None:
    assert list(complaints(APP / "page.py", ast.parse(text)))


def test_nothing_of_a_relay_or_a_contract_is_in_what_all_boards_share() -> None:
    contracts = tuple({profile(name)["contract"] for name in PROFILES})
    common = [one for one in FILES if one.parent == APP and not one.stem.startswith((*contracts, "relays"))]
    for path in common:
        # The set-up's defaults name the first contract.
        text = path.read_text("utf-8").replace('"contract", "autocore"', '"contract", ""')
        assert not re.search(rf"{'|'.join(contracts)}|relays?\b", _code(text)), path.name


def _code(text: str) -> str:
    """Without docstrings and comments."""
    return ast.unparse(ast.parse(re.sub(r'""".*?"""', '""', text, flags=re.S)))


def test_every_file_is_byte_code_within_its_size(tmp_path: Path) -> None:
    sizes = {}
    for path in FILES:
        target = tmp_path / f"{path.stem}.mpy"
        compile_file(path, target)
        size = target.stat().st_size
        assert size <= FILE_MOST, f"{path.name}: {size} bytes, at most {FILE_MOST}"
        sizes[path.stem] = size
    for name in PROFILES:
        total = sum(sizes[module] for module in profile(name)["modules"])
        assert total <= IMAGE_MOST, f"{name}: {total} bytes, at most {IMAGE_MOST}"
        print(name, total)


def test_a_file_that_is_no_micropython_does_not_compile(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f(:\n")
    with pytest.raises(Unbuildable, match=r"bad\.py"):
        compile_file(bad, tmp_path / "bad.mpy")


def test_the_stand_in_has_every_name_of_the_hardware() -> None:
    def names(*paths: Path) -> set[str]:
        nodes = [node for path in paths for node in ast.parse(path.read_text("utf-8")).body]
        found = {one.name for one in nodes if isinstance(one, ast.FunctionDef | ast.ClassDef)}
        stations = [one for one in nodes if isinstance(one, ast.ClassDef) and one.name == "Station"]
        found |= {one.name for station in stations for one in station.body if isinstance(one, ast.FunctionDef)}
        return {one for one in found if not one.startswith("_")}

    assert names(APP / "hal.py", APP / "hal_more.py") == names(HOST / "host.py")


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_what_there_is(name: str) -> None:
    told = profile(name)
    assert sources.profile(name).title
    there = {one.stem for one in APP.glob("*.py")}
    assert set(told["modules"]) <= there
    assert told["contract"] in there
    # Whatever one of them loads is among them.
    for module in told["modules"]:
        for node in ast.walk(ast.parse((APP / f"{module}.py").read_text("utf-8"))):
            missing = {one for one in _imported(node) if one in there} - set(told["modules"])
            assert not missing, (module, missing)
    outputs, inputs = _pins(told["pins"])
    assert len(set(outputs + inputs)) == len(outputs + inputs)
    # Flash (6 to 11) is on these, and 34 to 39 are inputs alone.
    assert not set(outputs + inputs) & set(range(6, 12))
    assert not set(outputs) & set(range(34, 40))
    assert told["settings"].get("relay_channels", 0) == len(told["pins"].get("relays", []))


def _pins(pins: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Numbers of the pins that are driven, and of those that are read."""
    outputs = pins.get("outputs", [])
    driven = [*pins.get("relays", []), *(outputs.values() if isinstance(outputs, dict) else outputs)]
    driven += [pins["led"]] if "led" in pins else []
    climate = pins.get("climate", {})
    driven += [climate[name] for name in ("sda", "scl", "dht") if name in climate]
    read = [*pins.get("inputs", []), *(pins[name] for name in ("sensor", "button") if name in pins)]
    return driven, read + ([pins["battery"]["pin"]] if "battery" in pins else [])
