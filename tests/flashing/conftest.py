"""A real MicroPython for what is made for one."""

import pytest

from tests.running import REPOSITORY


@pytest.fixture
def micropython() -> str:
    """The 64-bit interpreter that ``tools/micropython`` fetched."""
    program = REPOSITORY / ".cache" / "micropython" / "micropython64"
    if not program.exists():
        pytest.skip("no MicroPython was fetched (tools/micropython)")
    return str(program)
