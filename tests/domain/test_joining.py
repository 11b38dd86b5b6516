"""Codes, screenings and the two forms of a label, as pure functions."""

import contextlib
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.claims import ClaimCode, Screening, identity_key
from relevo.domain.joining import ALPHABET, CODE_BITS, CODE_LENGTH, Claims, new_code, read_code
from relevo.domain.labels import Label, content, scanned
from relevo.domain.reasons import REASONS, advice_for_stranger
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, Invalid

RELEVO = Path(__file__).parents[2] / "relevo"
texts = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=40).map(str.strip).filter(bool)
)


def code(number: int, by: str = "ana", expires: int = 0) -> ClaimCode:
    return ClaimCode(f"h{number}", "native", "pump", number, expires, by)


def test_codes_have_more_than_sixty_bits_and_no_letters_that_look_alike() -> None:
    assert CODE_BITS >= 60
    assert CODE_LENGTH >= 12
    assert len(set(ALPHABET)) == len(ALPHABET)
    for alike in ("0OQD"[:2], "1IL", "5S", "8B", "2Z", "UV"):
        assert len(set(alike) & set(ALPHABET)) <= 1


@given(st.integers(), st.sampled_from(["", " ", "-", " - ", "\u2013"]), st.booleans())
def test_a_code_is_read_however_it_is_typed(seed: int, between: str, lower: bool) -> None:
    printed = new_code(random.Random(seed).choice)
    assert re.fullmatch(r"\w{5}-\w{5}-\w{5}", printed)
    typed = between.join(printed.replace("-", ""))
    assert read_code(typed.lower() if lower else typed) == printed.replace("-", "")


def test_letters_that_are_mistaken_for_others_are_read_as_those() -> None:
    assert read_code("BBBBB-ZZZZZ-VVVVV") == "888882222" + "2UUUUU"


@given(st.text(max_size=30))
def test_what_is_no_code_is_refused_by_name(text: str) -> None:
    try:
        assert set(read_code(text)) <= set(ALPHABET)
    except Invalid as problem:
        assert problem.errors[0].field == "code"
        assert str(CODE_LENGTH) in problem.message


@given(texts, texts, st.booleans(), st.sampled_from(["url", "alchemy"]))
def test_a_label_is_read_as_it_was_written(contract: str, serial: str, coded: bool, form: str) -> None:
    label = Label(contract, serial, new_code(random.Random(1).choice) if coded else "")
    text = content(label, form, "https://home.example/")  # type: ignore[arg-type]
    assert scanned(text)[:3] == label[:3]


@pytest.mark.parametrize("key", ["serial", "serial_number"])
def test_the_images_of_the_alchemy_simulator_are_read(key: str) -> None:
    label = scanned(f'{{"{key}": "LMP07QK2ZD4A", "nombre": "Lamp", "tipo": "luz", "configuracion": {{}}}}')
    assert label == Label("alchemy", "LMP07QK2ZD4A", "", "Lamp", "luz")


@pytest.mark.parametrize(
    "text",
    [
        "https://home.example/ui/devices?contract=a&serial=b",
        "https://home.example/ui/claim?contract=a",
        "https://home.example/ui/claim?contract=a&serial=b&serial=c",
        "http://[broken/ui/claim?contract=a&serial=b",
        "hello",
        "{}",
        '{"serial": 5}',
        '{"serial": "a", "code": 1}',
        "{",
        "x" * 3_000,
    ],
)
def test_what_is_no_label_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid) as told:
        scanned(text, "url")
    assert told.value.errors[0].field == "url"
    assert told.value.reason == "label_unreadable"


@given(st.text(max_size=200))
def test_no_scanned_text_does_more_than_be_refused(text: str) -> None:
    for one in (text, "{" + text, f"https://h/ui/claim?{text}"):
        with contextlib.suppress(Invalid):
            scanned(one)


def test_an_identity_needs_a_code_while_one_of_somebody_elses_is_good() -> None:
    claims = Claims()
    claims.apply(Kept(code(1, "ana", expires=100)))
    assert claims.needs_code("native", "pump", "ben", 50)
    assert not claims.needs_code("native", "pump", "ana", 50)
    assert not claims.needs_code("native", "pump", "ben", 100)
    assert not claims.needs_code("hidrometro", "pump", "ben", 50)
    claims.apply(Dropped(ClaimCode, "h1"))
    claims.apply(Dropped(ClaimCode, "h1"))
    assert not claims.needs_code("native", "pump", "ben", 50)
    assert claims.codes() == claims.codes_of("native", "pump") == []


def test_what_an_operator_decided_holds_until_it_is_taken_back() -> None:
    claims = Claims()
    key = identity_key("native", "pump")
    for standing in ("ignored", "blocked"):
        claims.apply(Kept(Screening(key, "native", "pump", standing, "ana", 1)))
        assert claims.standing("native", "pump") == standing
    claims.apply(Dropped(Screening, key))
    assert claims.standing("native", "pump") == ""


def test_two_cannot_take_one_identity_at_the_same_moment() -> None:
    claims = Claims()
    with claims.taking("native", "pump"), claims.taking("native", "fan"):
        with pytest.raises(Conflict), claims.taking("native", "pump"):
            raise AssertionError
    with claims.taking("native", "pump"):
        pass


def test_every_reason_of_an_unclaimed_entry_says_what_to_do() -> None:
    source = "".join((RELEVO / name).read_text() for name in ("intake.py", "http/autocore/registration.py"))
    used = set(re.findall(r'(?:reason =|return) "([a-z_]+)"', source)) | set(
        re.findall(r'else "([a-z_]+_[a-z]+)"', source)
    )
    assert {"registration_closed", "identity_missing"} <= used
    assert used <= set(REASONS)
    assert len({advice_for_stranger("unclaimed", standing) for standing in ("", "ignored", "blocked")}) == 3
    assert advice_for_stranger("of another version", "") is None
