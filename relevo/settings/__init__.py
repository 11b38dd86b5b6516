"""Settings: one table, the road by which values reach it, and the pages made from it."""

from relevo.settings.load import load
from relevo.settings.page import describe, settings_page
from relevo.settings.table import SWITCHES, Hidrometro, Limits, Listen, Settings, parse_listen

__all__ = [
    "SWITCHES",
    "Hidrometro",
    "Limits",
    "Listen",
    "Settings",
    "describe",
    "load",
    "parse_listen",
    "settings_page",
]
