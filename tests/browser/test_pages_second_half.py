"""Every page fits a phone and a desk and can be used by everybody: the second half of them."""

import pytest

from tests.browser.conftest import Visit
from tests.browser.looking import look
from tests.browser.pages import SECOND_HALF
from tests.running import RunningServer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", SECOND_HALF)
def test_it_fits_and_is_accessible(visit: Visit, furnished: RunningServer, name: str) -> None:
    look(visit, furnished, name)
