"""Every page of the interface: where it is, and what is there once its content is."""

from typing import Final

# page -> (address, selector that tells that its content is there)
PAGES: Final = {
    "home": ("/ui/", "article .value"),
    "devices": ("/ui/devices", "td .figure"),
    "devices as cards": ("/ui/devices?view=cards", "article .value"),
    "no device fits": ("/ui/devices?search=nobody-has-this&tag=none", "main h2"),
    "join": ("/ui/join", "main ul a"),
    "a new board": ("/ui/join/new", "ol button.main, ol p"),
    "a board that speaks": ("/ui/join/speaks?kind=hidrometro", "form input"),
    "a label": ("/ui/join/scan", "form input"),
    "the demo": ("/ui/join/demo", "section button.main"),
    "device": ("/ui/device/fitted", ".readout strong"),
    "device charts": ("/ui/device/fitted/charts?key=temperature_c&key=relay_1", ".readout strong"),
    "device water": ("/ui/device/tapped/water", "main svg .bar"),
    "device commands": ("/ui/device/fitted/commands", "main ul.list > li"),
    "device state": ("/ui/device/fitted/state", "main tbody tr"),
    "device timeline": ("/ui/device/fitted/timeline", "main .verdict"),
    "device messages": ("/ui/device/fitted/messages", "main input"),
    "device automation": ("/ui/device/fitted/automation", "main section .list li"),
    "device sharing": ("/ui/device/fitted/sharing", "main ul.list > li"),
    "device keys": ("/ui/device/fitted/keys", "main ul.list > li"),
    "device label": ("/ui/device/fitted/label", "main img"),
    "device settings": ("/ui/device/fitted/settings", "main form input"),
    "account": ("/ui/account", "li .badge"),
    "people": ("/ui/people", "li .badge"),
    "audit": ("/ui/audit", "tbody td"),
    "health": ("/ui/system", "tbody td"),
    "storage": ("/ui/system/storage", "tbody td"),
    "backups": ("/ui/system/backups", "main pre"),
    "settings": ("/ui/system/settings", "main li"),
    "switches": ("/ui/system/switches", "main li"),
    "signing keys": ("/ui/system/keys", "main li"),
    "files": ("/ui/files", "form input[type=file]"),
    "water": ("/ui/water", "main h2, main li"),
    "bills": ("/ui/water/bills", "main h2"),
    "customers": ("/ui/water/customers", "main li"),
    "tariffs": ("/ui/water/tariffs", "main li"),
    "brokers": ("/ui/brokers", "main li"),
    "topics": ("/ui/brokers/topics", "main li"),
    "dashboards": ("/ui/dashboards", "main .list a"),
    "dashboard": ("/ui/dashboard/{dashboard}", "main section .value"),
    "dashboard while it is changed": ("/ui/dashboard/{dashboard}?edit=yes", "[role=toolbar] input"),
    "missing dashboard": ("/ui/dashboard/none", "main h1"),
    "api": ("/ui/api", "pre code"),
    "door": ("/ui/door", "main ol li"),
    "claim": ("/ui/claim?serial=HX-2041&code=ABCDE-FGHJK-23456", "form input"),
    "alerts": ("/ui/alerts", "main .list strong"),
    "rules": ("/ui/rules", "main .list a"),
    "new rule": ("/ui/rule/new", "main form select"),
    "rule": ("/ui/rule/{rule}", "main form select"),
    "schedules": ("/ui/schedules", "main .list a"),
    "new schedule": ("/ui/schedule/new", "[role=gridcell]"),
    "schedule": ("/ui/schedule/{schedule}", "main ol li"),
    "inbox": ("/ui/notifications", "main .list strong"),
    "channels": ("/ui/notifications/channels", "main .list strong"),
    "notification preferences": ("/ui/notifications/preferences", "main form select"),
    "webhooks": ("/ui/webhooks", "main .list a"),
    "new webhook": ("/ui/webhook/new", "main form select"),
    "webhook": ("/ui/webhook/{webhook}", "main form select"),
    "missing device": ("/ui/device/nobody", "main h1"),
    "missing page": ("/ui/nowhere/at/all", "main a"),
    "sign-in": ("/ui/signin", "form input"),
}

# What the addresses name in braces, once it has been made.
MADE: Final[dict[str, str]] = {}

# Two workers look at them beside each other.
FIRST_HALF: Final = list(PAGES)[: len(PAGES) // 2]
SECOND_HALF: Final = list(PAGES)[len(PAGES) // 2 :]
