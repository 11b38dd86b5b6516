"""A release is uploaded and brought to boards in waves; it halts, is looked into, tried again, and is over."""

import base64
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.boards import HttpBoard, image
from tests.browser.conftest import Visit, wait_live
from tests.journeys.live import eventually
from tests.running import RunningServer

pytestmark = pytest.mark.browser

PASSWORD = "a-long-enough-one"
_boards: list[HttpBoard] = []


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    """Every board is switched off at the end."""
    yield
    while _boards:
        _boards.pop().http.close()


def boards(server: RunningServer, tag: str, count: int, version: str = "1.3.0") -> dict[str, HttpBoard]:
    """Boards of kind ``tag`` with that tag, that have said what they run."""
    found = {}
    for n in range(1, count + 1):
        answer = server.api.post("/api/v1/devices", json={"id": f"{tag}-{n}", "name": f"{tag} {n}", "tags": [tag]})
        assert answer.status_code == 201, answer.text
        key = server.canaries.plant(answer.json()["key"])
        board = HttpBoard(server, f"{tag}-{n}", key, board=tag, version=version)
        _boards.append(board)
        assert board.look() is None
        found[f"{tag}-{n}"] = board
    return found


def release(server: RunningServer, version: str, board: str) -> str:
    answer = server.api.post("/api/v1/firmware", content=image(version, board))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def of_wave(server: RunningServer, rollout: str, wave: int) -> list[str]:
    page = server.api.get(f"/api/v1/rollouts/{rollout}/devices", params={"wave": wave}).json()
    return [one["device"] for one in page["items"]]


def choose_tag(page: Page, tag: str) -> None:
    field = page.get_by_label("Tags")
    field.fill(tag)
    field.press("Tab")


def test_a_release_goes_to_boards_in_waves_halts_is_tried_again_and_is_over(
    server: RunningServer, visit: Visit
) -> None:
    held = boards(server, "pump", 4)
    page = visit()
    page.goto("/ui/firmware")
    wait_live(page)
    releases = page.get_by_role("region", name="Releases")
    expect(releases).to_contain_text("relevo firmware build --profile relay16 --version 1.4.0 relay.tar")
    file = page.get_by_label("Choose a file")
    file.set_input_files({"name": "wrong.tar", "mimeType": "application/x-tar", "buffer": image("1.4", "pump")})
    upload = page.get_by_role("region", name="Upload a release")
    expect(upload.get_by_role("status")).to_contain_text("release.json.version")
    expect(upload.get_by_role("status")).to_contain_text("semantic version")
    file.set_input_files({"name": "right.tar", "mimeType": "application/x-tar", "buffer": image("1.4.0", "pump")})
    expect(page.get_by_text("pump-1.4.0 is there.")).to_be_visible()
    expect(upload.get_by_role("status")).to_be_empty()
    expect(releases).to_contain_text("runs nowhere yet")
    expect(page.get_by_role("region", name="Versions in the field")).to_contain_text("4 boards")
    page.get_by_role("link", name="Roll out pump-1.4.0").click()

    start = page.get_by_role("button", name="Start the roll-out")
    expect(start).to_be_disabled()
    choose_tag(page, "pump")
    review = page.get_by_role("region", name="Review")
    expect(review).to_contain_text("4 devices get it")
    page.get_by_role("button", name="In halves").click()
    end = page.get_by_role("slider", name="End of wave 1, percent")
    expect(end).to_have_attribute("aria-valuenow", "50")
    end.press("ArrowRight")
    expect(page.get_by_label("Wave 1: up to")).to_have_value("51")
    page.get_by_label("Wave 1: up to").fill("25")
    page.get_by_label("Wave 1: up to").press("Tab")
    expect(end).to_have_attribute("aria-valuenow", "25")
    waves = page.get_by_role("region", name="Waves").get_by_role("listitem")
    expect(waves.nth(0)).to_contain_text("1 device")
    expect(waves.nth(1)).to_contain_text("3 devices")
    page.get_by_label("Pause between waves", exact=True).fill("0")
    start.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("4 devices in 2 waves; the first wave has 1 device")
    dialog.get_by_role("button", name="Start the roll-out").click()
    expect(page).to_have_url(re.compile("/ui/firmware/rollouts/"))
    rollout = page.url.rsplit("/", 1)[1]

    progress = page.get_by_role("region", name="Progress").get_by_role("listitem")
    expect(progress.nth(0)).to_contain_text("1 waiting")
    expect(progress.nth(1)).to_contain_text("not begun")
    (first,) = of_wave(server, rollout, 1)
    assert eventually(held[first].update, 10)
    expect(progress.nth(0)).to_contain_text("1 updated")
    expect(progress.nth(1)).not_to_contain_text("not begun")
    one, two, three = of_wave(server, rollout, 2)
    found = eventually(held[one].look, 10)
    held[one].report(found["release"], "accepted")
    held[one].report(found["release"], "downloading", percent=40)
    devices = page.get_by_role("region", name="Devices").first
    row = devices.get_by_role("row").filter(has_text=one.replace("-", " "))
    expect(row).to_contain_text("40 % on the board")
    held[one].report(found["release"], "failed", reason="hash")
    expect(row).to_contain_text("the check sum differs")
    assert held[two].update("rolled_back", "crash: OSError: 28")
    expect(page.get_by_role("heading", name="The roll-out was halted")).to_be_visible()
    said = page.get_by_text("2 of 3 boards that came to an outcome failed: more than the 20 % that were allowed.")
    expect(said).to_be_visible()
    page.get_by_role("button", name="rolled back (1)").click()
    expect(devices.get_by_role("row")).to_have_count(2)
    expect(devices).to_contain_text("The new firmware crashed: OSError: 28")
    page.get_by_role("button", name="All", exact=True).click()
    expect(devices.get_by_role("row")).to_have_count(5)

    page.get_by_role("link", name="Home", exact=True).first.click()
    attention = page.get_by_role("region", name="Needs attention")
    expect(attention).to_contain_text("1 roll-out of firmware stands still")
    attention.get_by_role("link", name="pump-1.4.0").click()
    page.get_by_role("button", name="Try again").click()
    expect(dialog.get_by_label("failed (1)")).to_be_checked()
    dialog.get_by_label("rolled back (1)").check()
    dialog.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("They wait once more.")).to_be_visible()
    expect(page.get_by_role("heading", name="The roll-out was halted")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    dialog.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="The roll-out was halted")).to_have_count(0)
    for name in (one, two, three):
        held[name].flash = b""
        eventually(held[name].update, 10)
    expect(page.get_by_text("4 of 4 settled", exact=True)).to_be_visible()
    expect(page.locator("main").get_by_role("status").first).to_contain_text("Over")
    expect(page.get_by_role("button", name="Cancel the roll-out")).to_have_count(0)


def test_a_roll_out_is_paused_and_cancelled(server: RunningServer, visit: Visit) -> None:
    held = boards(server, "lamp", 2)
    of = {"release": release(server, "2.0.0", "lamp"), "target": {"tags": ["lamp"]}, "waves": [50, 100]}
    made = server.api.post("/api/v1/rollouts", json=of | {"note": "Brighter"}).json()
    page = visit(locale="pt-BR")
    page.goto(f"/ui/firmware/rollouts/{made['id']}")
    wait_live(page)
    expect(page.get_by_text("Brighter")).to_be_visible()
    page.get_by_role("button", name="Pausar").click()
    expect(page.get_by_role("heading", name="A implantação está em pausa")).to_be_visible()
    (first,) = of_wave(server, made["id"], 1)
    assert held[first].look() is None
    page.get_by_role("button", name="Retomar").click()
    expect(page.get_by_role("heading", name="A implantação está em pausa")).to_have_count(0)
    assert eventually(held[first].update, 10)
    # The pause between the waves is told.
    expect(page.get_by_text(re.compile("A próxima onda começa em"))).to_be_visible()
    page.get_by_role("button", name="Cancelar a implantação").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 dispositivo sem resultado não recebe")
    dialog.get_by_role("button", name="Cancelar a implantação").click()
    expect(page.locator("main").get_by_role("status").first).to_contain_text("Cancelada")
    expect(page.get_by_role("region", name="Dispositivos").first).to_contain_text("cancelada")


def test_a_board_is_offered_a_release_alone_and_its_page_follows(server: RunningServer, visit: Visit) -> None:
    (board,) = boards(server, "gate", 1, version="3.0.0").values()
    release(server, "2.9.0", "gate")
    release(server, "3.1.0", "gate")
    page = visit()
    page.goto("/ui/device/gate-1")
    page.locator("main").get_by_role("link", name="Firmware", exact=True).click()
    wait_live(page)
    expect(page.get_by_role("region", name="What runs")).to_contain_text("3.0.0")
    expect(page.get_by_text("Nothing is offered at the moment.")).to_be_visible()
    page.get_by_role("button", name="Offer a release").click()
    dialog = page.get_by_role("dialog")
    offer = dialog.get_by_role("button", name="Offer it")
    dialog.get_by_label("Release", exact=True).select_option("gate-2.9.0")
    expect(dialog.get_by_role("status")).to_have_text("It runs a newer version.")
    expect(offer).to_be_disabled()
    dialog.get_by_role("switch", name="Also devices that run a newer version").click()
    expect(offer).to_be_enabled()
    dialog.get_by_role("switch", name="Also devices that run a newer version").click()
    dialog.get_by_label("Release", exact=True).select_option("gate-3.1.0")
    expect(dialog.get_by_role("status")).to_contain_text("The board gets it when it next looks")
    offer.click()
    expect(page.get_by_text("gate-3.1.0 is offered to this board.")).to_be_visible()
    expect(page.get_by_role("region", name="On offer")).to_contain_text("waiting")
    assert eventually(board.update, 10)
    expect(page.get_by_role("region", name="Attempts")).to_contain_text("updated")
    expect(page.get_by_role("region", name="What runs")).to_contain_text("3.1.0")
    expect(page.get_by_text("Nothing is offered at the moment.")).to_be_visible()
    page.get_by_role("link", name="Timeline").click()
    expect(page.get_by_text("Firmware is well").first).to_be_visible()


def test_what_one_may_not_do_is_not_shown_and_a_release_in_use_stays(server: RunningServer, visit: Visit) -> None:
    boards(server, "door", 1)
    used, free = release(server, "1.4.0", "door"), release(server, "1.5.0", "door")
    body = {"release": used, "target": {"tags": ["door"]}}
    assert server.api.post("/api/v1/rollouts", json=body).status_code == 201
    page = visit()
    page.goto("/ui/firmware")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name=f"Remove {used}").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_text(f"{used} cannot be removed: a roll-out that is not over uses it.")).to_be_visible()
    page.get_by_role("button", name=f"Remove {free}").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_text(f"{free} is removed.")).to_be_visible()
    expect(page.get_by_role("button", name=f"Remove {free}")).to_have_count(0)
    page.get_by_role("region", name="Versions in the field").get_by_role("link", name="1.3.0").first.click()
    expect(page).to_have_url(re.compile(r"/ui/devices\?firmware=1\.3\.0"))
    expect(page.get_by_role("link", name="door 1")).to_be_visible()

    account = {"name": "fitter", "password": PASSWORD, "role": "operator"}
    assert server.api.post("/api/v1/users", json=account).status_code == 201
    operator = visit(signed_in=False)
    answer = httpx.post(
        f"{server.http}/api/v1/auth/login",
        json={"username": "fitter", "password": PASSWORD},
        headers={"Origin": server.http, "Sec-Fetch-Site": "same-origin"},
        trust_env=False,
        timeout=20,
    )
    cookie = server.canaries.plant(answer.cookies["relevo_session"])
    operator.context.add_cookies([{"name": "relevo_session", "value": cookie, "url": server.http}])
    operator.goto("/ui/firmware")
    expect(operator.get_by_role("link", name=f"Roll out {used}")).to_be_visible()
    expect(operator.get_by_text("Nothing has been rolled out yet.")).to_be_visible()
    expect(operator.get_by_role("region", name="Upload a release")).to_have_count(0)
    expect(operator.get_by_role("button", name=f"Remove {used}")).to_have_count(0)


def test_an_image_is_dropped_onto_the_page(server: RunningServer, visit: Visit) -> None:
    page = visit(locale="es-MX")
    page.goto("/ui/firmware")
    drop = page.get_by_text("Suelte aquí una imagen (.tar)")
    drop.wait_for()
    data = page.evaluate_handle(
        """(text) => {
            const found = new DataTransfer();
            found.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], 'fan.tar'));
            return found;
        }""",
        base64.b64encode(image("1.0.0", "fan", notes="Más silencioso")).decode(),
    )
    drop.dispatch_event("drop", {"dataTransfer": data})
    expect(page.get_by_text("fan-1.0.0 está lista.")).to_be_visible()
    expect(page.get_by_role("region", name="Versiones", exact=True)).to_contain_text("Más silencioso")
