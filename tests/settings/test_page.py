from pathlib import Path

from relevo.settings import Settings, describe, load, settings_page
from relevo.settings.load import names


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text("utf-8") == settings_page(), "run: python -m relevo.settings"


def test_every_setting_has_a_help_text() -> None:
    assert [name for name, field in names().items() if not field.description] == []


def test_secrets_are_masked() -> None:
    settings = Settings(
        admin_password="hunter2",
        database_url="postgresql://u:hunter2@x@db/relevo?password=hunter2",
        broker_url="mqtts://u:hunter2@broker",
    )
    rows = {row.name: row.value for row in describe(settings)}
    assert "hunter2" not in str(rows)
    assert rows["admin_password"] == "********"
    assert rows["broker_url"] == "mqtts://u:********@broker"


def test_an_empty_secret_is_not_masked() -> None:
    assert {row.name: row.value for row in describe(Settings())}["admin_password"] == ""


def test_rows_tell_value_and_origin(tmp_path: Path) -> None:
    rows = {row.name: row for row in describe(load({"data": tmp_path, "http": "127.0.0.1:1"}, {}))}
    assert rows["http"][1:] == ("127.0.0.1:1", "option --http")
    assert rows["open_reads"][1:] == ("on", "default")
    assert rows["limits.inflight"][1:] == ("100", "default")
