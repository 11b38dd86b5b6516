"""What a water meter of contract hidrometro hears, says and keeps (sections 3.1, 3.2, 7 and 8). Loaded when it does."""

import flow as flows
import json

from late import late

PATH = "meter"
FACTOR_UNIT = 10000
_FACTOR_MOST = 10000000000
_FLOW_MOST = 1000000000


def scaled(value, unit, most):
    """``value``, a number, in parts of which ``unit`` are one. Raises ValueError for what is none or not above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        raise ValueError("must be a number")
    whole = int(value * unit + 0.5)
    if not 0 < whole < most:
        raise ValueError("must be above 0 and below %d" % (most // unit))
    return whole


def calibrate(flow, value):
    """Pulses a second for each litre a minute. Raises ValueError, and changes nothing then."""
    factor = scaled(value, FACTOR_UNIT, _FACTOR_MOST)
    flow.rest = flow.rest * factor // flow.factor
    flow.factor = factor


def command(contract, payload):
    """Do what a message says; whether it was for this meter and made sense. What does not changes nothing."""
    app = contract.app
    try:
        text = (payload if isinstance(payload, str) else payload.decode()).strip()
        # MicroPython reads half of an object as a whole one.
        body = json.loads(text) if text[-1:] == "}" else None
    except (ValueError, UnicodeError):
        body = None
    if not isinstance(body, dict):
        return False
    # What everybody hears may be another's.
    named = body.get("numeroSerie")
    if named is not None and str(named).strip().upper() != app.get("device_uuid").strip().upper():
        return False
    return _obeyed(contract, body.get("action"), body.get("value"))


def _obeyed(contract, action, value):
    flow = contract.flow
    try:
        if action == "reset":
            contract.measure()
            flow.reset()
        elif action == "setCalibration":
            # What flowed before is counted as it was.
            contract.measure()
            calibrate(flow, value)
        elif action in ("simulate", "simSetFlow"):
            flow.simulated = flows.SIMULATED if value is None else scaled(value, 1000, _FLOW_MOST)
            return True
        elif action in ("simOff", "simulateOff"):
            flow.simulated = 0
            return True
        elif action == "update" and contract.app.due:
            late("update").soon(contract.app)
            return True
        else:
            return False
    except ValueError as problem:
        contract.app.log("command:", action, problem)
        return False
    contract.save()
    return True


def kept():
    """Factor, total and rest as they were kept; as usual where they were not."""
    config = late("config")
    for name in (PATH + ".json", PATH + ".bak"):
        found = config.unseal(config.read(name)) or {}
        try:
            factor, total, rest = found["factor"], found["total"], found["rest"]
            if factor > 0 and total >= 0 and 0 <= rest < 60 * factor:
                return int(factor), int(total), int(rest)
        except (KeyError, TypeError):
            pass
    return flows.FACTOR, 0, 0


def keep(contract):
    """Write it down, when it changed. What the flash does not take is told."""
    flow = contract.flow
    now = (flow.factor, flow.total, flow.rest)
    if now == contract.known:
        return
    config = late("config")
    text = config.seal({"factor": flow.factor, "total": flow.total, "rest": flow.rest})
    try:
        config.write(PATH + ".json", text)
        config.write(PATH + ".bak", text)
        contract.known = now
        contract.app.written += 1
    except OSError as problem:
        contract.app.log("meter: not written:", problem)


def status(contract):
    flow = contract.flow
    found = late("about").standing(contract.app)
    found["numeroSerie"] = contract.app.get("device_uuid")
    found["totalLiters"] = float(flows.litres(flow.total))
    found["flowLmin"] = float(flows.a_minute(flow.flow))
    found["calibration"] = flow.factor / FACTOR_UNIT
    found["simulated"] = bool(flow.simulated)
    return found


def answer(contract, path):
    """What the meter's own page shows to programs beside its status (section 8), or ``None``."""
    if path != "/api/current":
        return None
    flow = contract.flow
    text = '{"timestamp": %d, "totalLiters": %s, "currentFlow_L_min": %s, "systemActive": true}'
    return text % (contract.app.clock.unix(), flows.litres(flow.total), flows.a_minute(flow.flow))
