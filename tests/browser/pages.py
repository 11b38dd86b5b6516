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
    "api": ("/ui/api", "pre code"),
    "door": ("/ui/door", "main ol li"),
    "claim": ("/ui/claim?serial=HX-2041&code=ABCDE-FGHJK-23456", "form input"),
    "missing device": ("/ui/device/nobody", "main h1"),
    "missing page": ("/ui/nowhere/at/all", "main a"),
    "sign-in": ("/ui/signin", "form input"),
}
