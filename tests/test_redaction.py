import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.redaction import MASK, redact, redact_value

SECRET = "Xk29fLq8vRt5mZw1"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.{SECRET}"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /telemetry/latest?device_token={SECRET}&x=1",
        f"/ws?token={SECRET}",
        f"/refresh?refresh_token={SECRET} HTTP/1.1",
        f"ticket={SECRET}",
        f'{{"password": "{SECRET}", "user": "a"}}',
        f"password: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}==",
        f"mqtts://user:{SECRET}@broker.example:8883/x",
        f"postgresql://relevo:{SECRET}@db/relevo",
        f"GET /ui/enter/{SECRET}",
        f"GET /api/v1/walls/wall_{SECRET}/stream",
        f"GET /ui/wall/wall_{SECRET}",
        f"key relevo_0123456789ab_{SECRET}{SECRET} was used",
        f"token {JWT} is old",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"X-Device-Token: {SECRET}",
        f"api_key='{SECRET}'",
    ],
)
def test_a_secret_of_a_known_shape_is_replaced_and_the_rest_stays(text: str) -> None:
    shown = redact(text)
    assert SECRET not in shown
    assert MASK in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    ['device lamp-1 said {"v": 1}', "key temperature: must be a number", "GET /api/v1/keys?limit=5", "", "token"],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name", ["password", "PASSWORD", "device_token", "refresh_token", "api_key", "secret", "authorization", "cookie"]
)
def test_a_value_with_a_secrets_name_is_replaced_wherever_it_is_nested(name: str) -> None:
    shown = redact_value("entry", {"a": [{name: SECRET}], "b": f"token={SECRET}", "n": 5})
    assert SECRET not in str(shown)
    assert shown["n"] == 5


@given(st.text(max_size=300))
def test_any_text_can_be_looked_through(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_neither_our_log_nor_that_of_a_library_shows_a_secret() -> None:
    program = f"""
import logging
from relevo.log import set_up, get_logger
set_up("debug", "json")
log = get_logger("x")
log.info("asked", url="/x?token={SECRET}", password="{SECRET}", nested={{"device_token": "{SECRET}"}})
logging.getLogger("uvicorn.access").warning("GET /x?device_token=%s", "{SECRET}")
try:
    raise ValueError("bearer {SECRET}")
except ValueError:
    log.exception("failed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr.count(MASK) >= 5
