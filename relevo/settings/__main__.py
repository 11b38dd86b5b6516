"""``python -m relevo.settings`` writes ``docs/settings.md`` anew."""

from pathlib import Path

from relevo.settings.page import settings_page

Path(__file__).parents[2].joinpath("docs", "settings.md").write_text(settings_page(), "utf-8")
