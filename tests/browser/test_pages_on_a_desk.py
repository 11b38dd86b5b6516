"""On a desk every page fits and can be used by everybody, in every language and theme."""

import pytest

from tests.browser.conftest import Visit
from tests.browser.looking import look
from tests.browser.pages import PAGES
from tests.running import RunningServer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_and_is_accessible(visit: Visit, furnished: RunningServer, name: str) -> None:
    look(visit, name, 1280)
