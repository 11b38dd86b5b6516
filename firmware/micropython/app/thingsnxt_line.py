"""What is typed to a board of contract thingsnxt (section 8): nothing is kept before every answer is right."""

import json

from late import late

_QUESTIONS = (("device_id", "Device ID:"), ("device_token", "Device Token:"), ("api_url", "API URL:"))
HELP = """provision     device id, token and server, one after the other
reset         forget everything and restart
"""


def masked(token):
    return token[:2] + "***" if token else "(none)"


def problem(name, value):
    """Why ``value`` cannot be that, empty when it can."""
    if name == "device_id":
        if len(value) != 24 or any(letter not in "0123456789abcdef" for letter in value.lower()):
            return "Device ID must be 24 hexadecimal characters"
    elif name == "device_token":
        if not 1 <= len(value) <= 128 or " " in value:
            return "Device Token must be 1 to 128 characters without spaces"
    else:
        scheme, mark, rest = value.partition("://")
        if not mark or scheme.lower() not in ("http", "https") or not rest.split("/")[0] or " " in value or len(value) > 200:
            return "API URL must be http://HOST:PORT or https://HOST"
    return ""


def typed(contract, line):
    """What to say about a line, ``None`` when it is none of this contract's."""
    line = line.strip()
    if contract.answers is not None:
        return _answered(contract, line)
    app = contract.app
    name = " ".join(line.lower().split())
    if name == "provision":
        contract.answers = []
        return _QUESTIONS[0][1]
    if name == "status":
        found = late("thingsnxt_words").status(contract)
        found["device_token"] = masked(app.get("device_token"))
        return json.dumps(found)
    if name == "stats":
        found = late("provision").stats(app)
        found["sent"], found["failed"], found["too_many"] = contract.sent, contract.failed, contract.too_many
        found["since_success"] = (app.clock.ms() - contract.worked) // 1000
        found["lowest_memory"] = contract.lowest
        found["wifi_rssi"] = app.station.rssi()
        return json.dumps(found)
    if name == "reset":
        app.later(lambda: late("make").forget(app))
        return "Everything is forgotten."
    if name in ("debug on", "debug off"):
        app.debug = name == "debug on"
        return "ok"
    return HELP + late("provision").HELP if name == "help" else None


def _answered(contract, text):
    app, answers = contract.app, contract.answers
    name = _QUESTIONS[len(answers)][0]
    wrong = problem(name, text)
    if wrong:
        contract.answers = None
        return wrong + "; nothing was stored"
    answers.append(text.lower() if name == "device_id" else text.rstrip("/") if name == "api_url" else text)
    if len(answers) < len(_QUESTIONS):
        return _QUESTIONS[len(answers)][1]
    contract.answers = None
    app.put(device_id=answers[0], device_token=answers[1], api_url=answers[2])
    app.changed()
    return "Stored. Token " + masked(answers[1]) + ("" if app.get("wifi_ssid") else "; now type: wifi NAME PASSWORD")
