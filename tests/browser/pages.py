"""Every page of the interface: where it is, and what is there once its content is."""

from typing import Final

# page -> (address, selector that tells that its content is there)
PAGES: Final = {
    "home": ("/ui/", "article .value"),
    "devices": ("/ui/devices", "article .value"),
    "device": ("/ui/device/fitted", ".readout strong"),
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
