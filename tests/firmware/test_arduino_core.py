"""The library of ``firmware/arduino`` under sanitizers: its own tests, and its JSON against Python's."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.arduino import ARDUINO, built, needs_compiler

CORE = ARDUINO / "libraries" / "RelevoCore"


@needs_compiler
def test_the_librarys_own_tests_pass_under_sanitizers() -> None:
    done = subprocess.run([built() / "core_tests"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    sources = (ARDUINO / "host/tests").glob("*_tests.cpp")
    written = [name for one in sources for name in re.findall(r"^TEST\((\w+)\)", one.read_text(), re.MULTILINE)]
    assert sorted(lines) == sorted(f"ok {name}" for name in written)
    assert len(lines) > 20


class Probe:
    """The program that reads documents and commands as boards do."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [built() / "json_probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def ask(self, mark: str, document: bytes) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(mark.encode() + document.hex().encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        return line.decode().rstrip("\n")


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    one = Probe()
    yield one
    _, errors = one.process.communicate(timeout=10)
    assert (one.process.returncode, errors) == (0, b"")


class Refused(ValueError):
    pass


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("duplicate")
    return found


def _constant(name: str) -> Any:
    raise Refused(name)


def _whole(text: str) -> Any:
    # Beyond 64 bits a whole number is a floating one.
    value = int(text) if len(text) < 4000 else math.inf
    if -(2**63) <= value < 2**63:
        return value
    try:
        return _number(str(value))
    except OverflowError as error:
        raise Refused(text) from error


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise Refused(text)
    return value


def _same(value: Any, depth: int = 0) -> Any:
    """Raises :class:`Refused` for what boards refuse beside what is no JSON."""
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise Refused("NUL")
    elif isinstance(value, (list, dict)):
        if depth == 8:
            raise Refused("depth")
        for one in value.values() if isinstance(value, dict) else value:
            _same(one, depth + 1)
        if isinstance(value, dict):
            for key in value:
                _same(key)
    return value


def strictly(document: bytes) -> Any:
    """As boards have to read it. Raises ValueError for what is to be refused."""
    text = document.decode()
    found = json.loads(
        text, object_pairs_hook=_no_twins, parse_constant=_constant, parse_int=_whole, parse_float=_number
    )
    return _same(found)


def equal(a: Any, b: Any) -> bool:
    """Also 1e2 and 100: a board writes a floating number in its shortest form."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def agree(probe: Probe, document: bytes) -> None:
    said = probe.ask("j", document)
    if said == "!room":
        return
    try:
        wanted = strictly(document)
    except (ValueError, RecursionError):
        assert said.startswith("!"), (document, said)
        return
    assert not said.startswith("!"), (document, said)
    assert equal(json.loads(said), wanted), (document, said)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=30,
)
# What is nearly JSON finds more than noise.
pieces = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b'"a":', b"1", b"-", b"0", b".5", b"e9", b"E+400", b"true",
     b"null", b"NaN", b"Infinity", b"\\", b"\\u", b"d800", b"\\ud83d\\ude00", b"\\u0000", b"\xc3\xa9", b"\xff",
     b"\xed\xa0\x80", b" ", b"\n", b"\t", b"\x0b", b"9" * 25, b"0.1", b"[[[[", b"]]]]", b"\xef\xbb\xbf"]
)  # fmt: skip


@needs_compiler
@given(value=values, spaces=st.booleans(), escaped=st.booleans())
def test_boards_read_what_python_writes(probe: Probe, value: Any, spaces: bool, escaped: bool) -> None:
    text = json.dumps(value, indent=1 if spaces else None, ensure_ascii=escaped)
    agree(probe, text.encode("utf-8", "surrogatepass"))


@needs_compiler
@given(parts=st.lists(pieces, max_size=24))
def test_boards_refuse_what_python_refuses(probe: Probe, parts: list[bytes]) -> None:
    agree(probe, b"".join(parts))


@needs_compiler
@given(value=values, at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_documents_are_read_as_python_reads_them(
    probe: Probe, value: Any, at: int, byte: int, cut: bool
) -> None:
    whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    at %= len(whole)
    agree(probe, whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :])


odd = st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@needs_compiler
@given(
    kind=st.sampled_from(["relay", "ping", "status", "blink"]) | odd,
    channel=st.integers(1, 16) | odd,
    state=st.booleans() | odd,
)
def test_a_relay_moves_for_a_command_of_the_right_types_alone(
    probe: Probe, kind: Any, channel: Any, state: Any
) -> None:
    document = json.dumps({"type": kind, "channel": channel, "state": state}).encode()
    verb = int(probe.ask("r", document).split()[0])
    if any(isinstance(one, float) and not math.isfinite(one) for one in (kind, channel, state)):
        assert verb == 0
        return
    fits = kind == "relay" and type(channel) is int and 1 <= channel <= 16 and type(state) is bool
    assert verb == (3 if fits else {"ping": 1, "status": 2}.get(kind if isinstance(kind, str) else "", 0))


@needs_compiler
@given(
    action=st.sampled_from(["reset", "setCalibration", "simulate", "simOff"]) | odd,
    value=st.floats(allow_nan=False, allow_infinity=False) | odd,
    serial=st.sampled_from(["HX1", " hx1", "HX2", None]) | odd,
)
def test_a_meter_changes_for_a_command_that_is_meant_for_it_alone(
    probe: Probe, action: Any, value: Any, serial: Any
) -> None:
    body = {"action": action, "value": value, "numeroSerie": serial}
    done, factor, total = probe.ask("m", json.dumps(body).encode()).split()
    mine = serial is None or (isinstance(serial, str) and serial.strip(" \t\r\n").upper() in ("", "HX1"))
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    obeyed = mine and (number or value is None)
    assert (float(total) == 0) == (obeyed and action == "reset"), done
    calibrated = obeyed and action == "setCalibration" and number and 1e-6 <= value < 1e6
    assert math.isclose(float(factor), value if calibrated else 7.5, rel_tol=1e-5)


def test_what_the_arduino_ide_and_platformio_read_is_there_and_agrees() -> None:
    properties = dict(line.split("=", 1) for line in (CORE / "library.properties").read_text().splitlines())
    described = json.loads((CORE / "library.json").read_text())
    assert (properties["name"], properties["version"]) == (described["name"], described["version"])
    included = re.findall(r'#include "(relevo/\w+\.h)"', (CORE / "src/RelevoCore.h").read_text())
    assert sorted(included) == sorted(f"relevo/{one.name}" for one in (CORE / "src/relevo").iterdir())
    for line in (CORE / "keywords.txt").read_text().splitlines()[1:]:
        word, kind = line.split("\t")
        assert kind in ("KEYWORD1", "KEYWORD2")
        assert any(re.search(rf"\b{word}\b", one.read_text()) for one in (CORE / "src/relevo").iterdir()), word


def test_the_library_knows_no_board_and_no_heap() -> None:
    for one in (CORE / "src").rglob("*.h"):
        text = re.sub(r"//.*", "", one.read_text())
        assert not re.search(r"Arduino\.h|\bnew\b|\bmalloc\b|std::|\bthrow\b|\btry\b|\bString\b", text), one
        for header in re.findall(r"#include <(.+)>", text):
            assert header in {
                "errno.h",
                "math.h",
                "stdarg.h",
                "stddef.h",
                "stdint.h",
                "stdio.h",
                "stdlib.h",
                "string.h",
            }


@pytest.mark.parametrize("sketch", ["relay_mqtt", "water_meter", "http_poller"])
def test_a_sketch_is_thin_and_its_folder_opens_in_the_ide(sketch: str) -> None:
    program = (ARDUINO / sketch / f"{sketch}.ino").read_text()
    assert len(program.splitlines()) < 40
    settings = (ARDUINO / sketch / "platformio.ini").read_text()
    assert "lib_extra_dirs = ../libraries" in settings
    assert "-std=gnu++17" in settings
    assert ("256dpi/MQTT" in settings) == (sketch != "http_poller")


def test_no_sketch_waits_idly_or_trusts_a_server_unchecked() -> None:
    for one in [*ARDUINO.glob("*/*.h"), *ARDUINO.glob("*/*.ino")]:
        assert not re.search(r"\bdelay\(|setInsecure", one.read_text()), one
    assert "setCACert(ROOT_CA)" in (ARDUINO / "http_poller/api.h").read_text()
