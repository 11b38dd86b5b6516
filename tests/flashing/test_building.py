"""Images: what the server and the board take, from our own sources."""

import io
import json
import tarfile

import pytest

from relevo.errors import NotFound, Unbuildable
from relevo.flashing import building, sources
from relevo.flashing.sources import Profile

ONE = Profile(board="relay", contract="autocore", modules=["ota", "ed25519"], pins={"relays": [2]})


def test_an_image_names_its_release_first_and_is_the_same_each_time() -> None:
    made = building.image(building.files_of(ONE, "1.4.0", "quieter"))
    assert made == building.image(building.files_of(ONE, "1.4.0", "quieter"))
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        names = archive.getnames()
        first = archive.extractfile(names[0])
        assert first is not None
        release = json.load(first)
    assert names == ["release.json", "ed25519.mpy", "ota.mpy"]
    assert release == {"version": "1.4.0", "board": "relay", "boot": 1, "mpy": 6, "notes": "quieter"}


def test_sources_go_in_as_they_are_where_nothing_compiles() -> None:
    files = dict(building.files_of(ONE, "1.4.0", compiled=False))
    assert json.loads(files["release.json"])["mpy"] == 0
    assert files["ota.py"] == sources.module("ota").read_bytes()


def test_the_application_itself_comes_last() -> None:
    with pytest.raises(NotFound, match="no module 'zzz'"):
        building.files_of(Profile(board="relay", contract="autocore", modules=["app", "zzz", "ota"]), "1.0.0")
    order = sorted(["app", "zzz", "ota"], key=lambda one: (one == "app", one))
    assert order[-1] == "app"


def test_what_a_board_is_stays_outside_its_applications() -> None:
    name, data = building.board_profile(ONE)
    assert name == "profile.json"
    assert json.loads(data) == {"board": "relay", "contract": "autocore", "settings": {}, "pins": {"relays": [2]}}


def test_a_module_that_does_not_compile_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:\n")
    with pytest.raises(Unbuildable, match=r"broken\.py does not compile"):
        building.compile_module(broken)


@pytest.mark.parametrize("name", ["none", "../relay16", "", "RELAY"])
def test_a_profile_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(NotFound, match="there are"):
        sources.profile(name)
