"""Pages of the water meters: ``/dashboard``, ``/control``, ``/clientes``, ``/dispositivos``, ``/login``, ``/logout``
(contract hidrometro, section 4.1).

Rendered here, in the language that the browser asks for. Which requests come here is said in
:mod:`relevo.http.hidrometro.doors`.
"""

from collections import deque
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relevo.domain.accounts import Identity, Role
from relevo.domain.customers import LITRES_IN_M3, Customer, cost
from relevo.domain.devices import Device
from relevo.domain.events import DeviceChanged
from relevo.domain.grants import Right
from relevo.domain.meters import (
    CONTRACT,
    CUSTOMER,
    MODEL,
    NUMBER,
    STATE,
    STATES,
    TOTAL,
    customer_of,
    model_of,
    number_of,
    state_of,
    whole,
)
from relevo.errors import Forbidden, Invalid, NotFound, RelevoError, TooMany, Unauthenticated
from relevo.http.api.devices import check_storable
from relevo.http.api.sign_in import set_cookie
from relevo.http.auth import COOKIE
from relevo.http.hidrometro import alerts, asking, clients
from relevo.http.hidrometro.access import check_csrf, csrf_token, meters_of, seen_by
from relevo.http.services import Services, address_of, services_of

HOME: Final = "/dashboard"
ACTIONS: Final = ("reset", "setCalibration", "simulate", "simOff")
# What a meter cannot take back.
GRAVE: Final = frozenset({"reset", "setCalibration"})
_FORM_MOST: Final = 16_384
_SHOWN_ALERTS: Final = 20
_SENT_KEPT: Final = 20


class _Pages:
    """The templates, and what was sent from the control page."""

    def __init__(self) -> None:
        self._environment: Any = None
        self.sent: deque[dict[str, Any]] = deque(maxlen=_SENT_KEPT)

    def render(
        self, request: Request, name: str, identity: Identity | None = None, status: int = 200, **more: Any
    ) -> Response:
        from relevo.http.hidrometro.words import preferred, words

        if self._environment is None:
            from jinja2 import Environment, PackageLoader, StrictUndefined

            loader = PackageLoader("relevo.http.hidrometro", "templates")
            self._environment = Environment(
                loader=loader, autoescape=True, undefined=StrictUndefined, auto_reload=False
            )
        language = preferred(request.headers.get("accept-language", ""))
        admin = identity is not None and identity.role is Role.ADMINISTRATOR
        sections = [
            (HOME, "dashboard", True),
            ("/control", "control", admin),
            ("/clientes", "customers", True),
            ("/dispositivos", "meters", True),
        ]
        wired = services_of(request)
        context = {
            "language": language,
            "w": words(language),
            # Figures come with a point.
            "n": lambda text: text if language == "en" else text.replace(".", ","),
            "who": identity.name if identity is not None else "",
            "admin": admin,
            "csrf": csrf_token(identity, wired) if identity is not None else "",
            "here": request.url.path,
            "sections": sections,
            "problem": "",
        }
        text = self._environment.get_template(name).render(context | more)
        return HTMLResponse(text, status, {"Cache-Control": "no-store", "Vary": "Accept-Language, Accept"})

    def word(self, request: Request, name: str, **places: Any) -> str:
        from relevo.http.hidrometro.words import preferred, words

        return words(preferred(request.headers.get("accept-language", "")))[name].format(**places)


async def dashboard(request: Request) -> Response:
    """Litres and flow, live."""
    identity, away = _enter(request)
    return away if identity is None else await _dashboard(_pages_of(request), request, identity)


async def control(request: Request) -> Response:
    """Telling meters what to do, and what became of it."""
    identity, away = _enter(request)
    return away if identity is None else await _control(_pages_of(request), request, identity)


async def customers(request: Request) -> Response:
    """Customers, and what their meters used."""
    identity, away = _enter(request)
    return away if identity is None else await _customers(_pages_of(request), request, identity)


async def meters(request: Request) -> Response:
    """The meters that one may view."""
    identity, away = _enter(request)
    return away if identity is None else await _meters(_pages_of(request), request, identity)


async def login(request: Request) -> Response:
    """Signing in with a form."""
    return await _login(_pages_of(request), request)


async def logout(request: Request) -> Response:
    """Asking first, and signing out."""
    return await _logout(_pages_of(request), request)


def _pages_of(request: Request) -> _Pages:
    state = request.app.state
    if not hasattr(state, "meter_pages"):
        state.meter_pages = _Pages()
    found: _Pages = state.meter_pages
    return found


def local(path: str) -> str:
    """``path`` when it is one of this server, otherwise the dashboard: nobody is sent away from here."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable() or "\\" in path:
        return HOME
    parts = urlsplit(path)
    return HOME if parts.scheme or parts.netloc or len(path) > 512 else path


# Signing in and out


async def _login(pages: _Pages, request: Request) -> Response:
    wired = services_of(request)
    if request.method == "GET":
        target = local(request.query_params.get("next", HOME))
        if COOKIE in request.cookies:
            try:
                wired.auth.identify(request)
                return RedirectResponse(target, 302)
            except (Unauthenticated, Forbidden):
                pass
        return pages.render(request, "login.html", next=target, username="")
    form = await _form(request)
    name, password, target = form.get("username", ""), form.get("password", ""), local(form.get("next", HOME))
    address = address_of(request)
    # A foreign page must not sign its visitors in as somebody else.
    wired.auth.check_origin(request)
    try:
        account = await wired.auth.check_password(name[:128], password[:1024], address)
    except TooMany as error:
        problem = pages.word(request, "too_many")
        answer = pages.render(request, "login.html", None, 429, next=target, username=name, problem=problem)
        answer.headers["Retry-After"] = str(error.retry_after)
        return answer
    if account is None:
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {name[:64]!r}", address)
        problem = pages.word(request, "wrong")
        return pages.render(request, "login.html", None, 401, next=target, username=name, problem=problem)
    signed_in = await wired.auth.sign_in(
        account, "native", address, request.headers.get("user-agent", ""), browser=True
    )
    wired.audit_by(account.name, "auth.login", account.name, address, {"kind": "browser"})
    answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
    set_cookie(answer, signed_in.cookie, request.url.scheme == "https")
    return answer


async def _logout(pages: _Pages, request: Request) -> Response:
    identity, away = _enter(request)
    if identity is None:
        return away
    if request.method == "GET":
        return pages.render(request, "logout.html", identity)
    wired = services_of(request)
    check_csrf(identity, wired, (await _form(request)).get("csrf_token", ""))
    if identity.sign_in and await wired.auth.end_session(identity.sign_in):
        wired.audit(request, identity, "auth.logout", identity.name)
    answer = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
    answer.delete_cookie(COOKIE, path="/")
    return answer


def _enter(request: Request) -> tuple[Identity | None, Response]:
    """Whoever is signed in, or the way to the page on which one signs in."""
    try:
        identity = services_of(request).auth.identify(request)
    except Unauthenticated:
        target = HOME if request.url.path == "/logout" else request.url.path
        return None, RedirectResponse(f"/login?next={quote(target)}", 302 if request.method == "GET" else 303)
    return identity, Response()


# Looking


async def _dashboard(pages: _Pages, request: Request, identity: Identity) -> Response:
    wired = services_of(request)
    sees = seen_by(identity, wired)
    chosen = request.query_params.get("numeroSerie", "").strip().upper()
    current = wired.recent.current(chosen, sees)
    serials = {one.external_id for one in meters_of(identity, wired)} | set(wired.recent.serials(sees))
    return pages.render(
        request,
        "dashboard.html",
        identity,
        serials=sorted(serials),
        chosen=chosen,
        total=_number(current["totalLiters"]) if current else None,
        flow=_number(current["flowLmin"]) if current else None,
        whose=current["numero_serie"] if current else "",
        topic=wired.settings.hidrometro.topic_dados,
        alerts=await alerts.newest(wired, identity, _SHOWN_ALERTS, True),
    )


# Telling meters what to do


async def _control(pages: _Pages, request: Request, identity: Identity) -> Response:
    wired = services_of(request)
    if identity.role is not Role.ADMINISTRATOR:
        problem = pages.word(request, "forbidden")
        return pages.render(request, "control.html", identity, 403, problem=problem, confirm="", allowed=False)
    if request.method == "GET":
        if request.query_params.get("part") == "sent":
            return pages.render(request, "sent.html", identity, sent=await _sent(wired, pages))
        form = {"action": "", "value": "", "numeroSerie": request.query_params.get("numeroSerie", "")}
        return await _control_page(pages, request, identity, form)
    form = {"action": "", "value": "", "numeroSerie": ""} | await _form(request)
    try:
        check_csrf(identity, wired, form.get("csrf_token", ""))
    except Forbidden:
        return await _control_page(pages, request, identity, form, 403, pages.word(request, "form_old"))
    if form.get("turn"):
        return await _turn(pages, request, identity, form)
    asked = {"action": form["action"], "value": form["value"].replace(",", "."), "numeroSerie": form["numeroSerie"]}
    sharing = _sharing(wired, form["numeroSerie"])
    if form["action"] in GRAVE and sharing > 1 and form.get("confirm") != "yes":
        name = "confirm_one" if form["numeroSerie"] else "confirm_all"
        action = pages.word(request, form["action"])
        text = pages.word(request, name, action=action, serial=form["numeroSerie"].upper(), n=sharing)
        return await _control_page(pages, request, identity, form, 200, "", text)
    try:
        told = await asking.command(request, wired, identity, asked)
    except RelevoError as error:
        problem = pages.word(request, "problem", text=str(error))
        return await _control_page(pages, request, identity, form, 400, problem)
    cmd = told["cmd"]
    pages.sent.appendleft(
        {
            "at": wired.clock.now_ms(),
            "action": cmd["action"],
            "value": cmd.get("value"),
            "serial": cmd.get("numeroSerie", ""),
            "id": told.get("id", ""),
        }
    )
    return RedirectResponse(f"/control?numeroSerie={quote(cmd.get('numeroSerie', ''))}", 303)


async def _turn(pages: _Pages, request: Request, identity: Identity, form: dict[str, str]) -> Response:
    """Switch a relay of another contract that stands on this page (:mod:`relevo.appearances`)."""
    wired = services_of(request)
    number = whole(form["turn"])
    one = wired.appearances.all.get(number) if number is not None else None
    device = wired.registry.get(one.device) if one is not None and one.contract == CONTRACT else None
    if one is None or device is None:
        return await _control_page(pages, request, identity, form, 404, pages.word(request, "device_gone"))
    audited = wired.audited(request, identity, "device.desire", device.id, {"keys": [one.key]})
    try:
        await wired.appearances.turn(device, one.key, form.get("on") == "1", identity.name, [audited])
    except RelevoError as error:
        problem = pages.word(request, "problem", text=str(error))
        return await _control_page(pages, request, identity, form, 409, problem)
    return RedirectResponse("/control", 303)


def _switches(wired: Services) -> list[dict[str, Any]]:
    """Relays and switches of other contracts that an administrator put here: what is asked, and what is."""
    shown = []
    for one in wired.appearances.of_contract(CONTRACT):
        device = wired.registry.get(one.device)
        if device is None:
            continue
        reported = wired.appearances.reported_on(device.id, one.key)
        wanted = wired.appearances.switches(device, wired.appearances.known(device)).get(one.key)
        shown.append(
            {
                "number": one.number,
                "name": one.texts.get("nombre", one.key),
                "device": device.name,
                "on": wanted,
                "state": "is_unknown" if reported is None else "is_on" if reported else "is_off",
                "pending": wanted is not None and wanted is not reported,
            }
        )
    return shown


async def _control_page(
    pages: _Pages,
    request: Request,
    identity: Identity,
    form: dict[str, str],
    status: int = 200,
    problem: str = "",
    confirm: str = "",
) -> Response:
    wired = services_of(request)
    known = {one.external_id: one.name for one in meters_of(identity, wired)}
    targets = dict.fromkeys(wired.recent.serials(), "") | known
    return pages.render(
        request,
        "control.html",
        identity,
        status,
        problem=problem,
        confirm=confirm,
        allowed=True,
        form={name: form.get(name, "") for name in ("action", "value", "numeroSerie")},
        targets=sorted(targets.items()),
        actions=ACTIONS,
        switches=_switches(wired),
        sent=await _sent(wired, pages),
    )


def _sharing(wired: Services, serial: str) -> int:
    """How many meters may obey what is sent on the shared topic; 0 when the one that is meant has its own."""
    dialect = asking.hidrometro(wired)
    meters = wired.registry.of_contract(dialect.name)
    shared = {one.external_id for one in meters if len(dialect.command_topics(one.external_id, one.attributes)) == 1}
    known = {one.external_id for one in meters}
    wanted = serial.strip().upper()
    if wanted in known - shared:
        return 0
    # Who is in no registry listens all the same.
    return len(shared | (set(wired.recent.serials()) - known))


async def _sent(wired: Services, pages: _Pages) -> list[dict[str, Any]]:
    shown = []
    for one in pages.sent:
        found = await wired.dispatch.find(one["id"]) if one["id"] else None
        state = found.state if found is not None else "sent"
        word = state if one["id"] else "sent_all"
        value = _number(one["value"]) if one["value"] is not None else None
        shown.append(one | {"state": state, "word": word, "reason": found.reason if found else "", "value": value})
    return shown


# Customers and meters


async def _customers(pages: _Pages, request: Request, identity: Identity) -> Response:
    wired = services_of(request)
    problem, status = "", 200
    if request.method == "POST":
        form = await _form(request)
        check_csrf(identity, wired, form.get("csrf_token", ""))
        if identity.role is not Role.ADMINISTRATOR:
            raise Forbidden("forbidden")
        known = wired.consumption.customers.get(whole(form.get("number", "")) or 0)
        try:
            if form.get("number") and known is None:
                raise NotFound(f"no customer {form['number'][:20]}")
            fields = {name: form.get(name, "").strip() for name in ("name", "contact", "currency")}
            price = _price(form.get("price", ""))
            await clients.keep(request, wired, identity, known, {**fields, "price": price})
            return RedirectResponse("/clientes", 303)
        except (Invalid, NotFound) as error:
            problem, status = pages.word(request, "problem", text=str(error)), 400
    shown = []
    for one in clients.visible(wired, identity):
        meters = [
            _used(wired, device, one) for device in meters_of(identity, wired) if customer_of(device) == one.number
        ]
        shown.append(
            {
                "number": one.number,
                "name": one.name,
                "contact": one.contact,
                "price": one.price,
                "price_text": f"{one.price:g}" if one.price else "",
                "currency": one.currency,
                "meters": meters,
            }
        )
    return pages.render(request, "customers.html", identity, status, customers=shown, problem=problem)


def _used(wired: Services, device: Device, customer: Customer | None) -> dict[str, Any]:
    months = wired.consumption.months(device.id)
    newest = next(iter(months.values()), 0.0)
    price = customer.price if customer is not None else 0.0
    return {
        "serial": device.external_id,
        "used": f"{newest / LITRES_IN_M3:.3f}",
        "cost": f"{cost(newest, price):.2f}" if price else "",
        "months": [(month, f"{litres / LITRES_IN_M3:.3f}") for month, litres in months.items()][1:],
    }


async def _meters(pages: _Pages, request: Request, identity: Identity) -> Response:
    wired = services_of(request)
    if request.method == "POST":
        form = await _form(request)
        check_csrf(identity, wired, form.get("csrf_token", ""))
        await _change_meter(request, wired, identity, form)
        return RedirectResponse("/dispositivos", 303)
    customers = wired.consumption.customers
    shown = []
    for device in meters_of(identity, wired):
        number = customer_of(device)
        customer = customers.get(number) if number is not None else None
        used = _used(wired, device, customer)
        values, _ = wired.latest(device.id)
        total = values.get(TOTAL)
        shown.append(
            {
                **used,
                "id": device.id,
                "number": number_of(device),
                "model": model_of(device),
                "state": state_of(device),
                "customer": customer.name if customer is not None else "",
                "customer_number": number,
                "total": _number(total[0]) if total else "–",
                "at": total[1] if total else 0,
                "cost": f"{used['cost']} {customer.currency}" if customer is not None and used["cost"] else "",
                "mine": wired.auth.may(identity, device.id, Right.OWN),
            }
        )
    names = [(one.number, one.name) for one in clients.visible(wired, identity)]
    return pages.render(request, "meters.html", identity, meters=shown, customers=names, states=STATES)


async def _change_meter(request: Request, wired: Services, identity: Identity, form: dict[str, str]) -> None:
    device = wired.auth.device_for(identity, form.get("device", ""), Right.OWN)
    attributes = dict(device.attributes)
    if form.get("status", "") in STATES:
        attributes[STATE] = form["status"]
    attributes[MODEL] = form.get("modelo", "").strip()[:64]
    number = whole(form.get("id_cliente", ""))
    if number is None:
        attributes.pop(CUSTOMER, None)
    elif number in {one.number for one in clients.visible(wired, identity)}:
        attributes[CUSTOMER] = number
        attributes.setdefault(NUMBER, number_of(device))
    check_storable(attributes, "attributes")
    audited = wired.audited(request, identity, "device.change", device.id, {"changes": ["attributes"]})
    changed = DeviceChanged(device.id, wired.clock.now_ms(), {"attributes": attributes}, identity.name)
    await wired.pipeline.accept([changed, audited])


# What is read and shown


async def _form(request: Request) -> dict[str, str]:
    raw = await request.body()
    if len(raw) > _FORM_MOST:
        raise Invalid("body_too_large", f"a form has at most {_FORM_MOST} bytes")
    try:
        found = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Invalid("form_invalid", "no form that can be read") from None
    return {name: values[0] for name, values in found.items()}


def _price(text: str) -> float:
    try:
        return float(text.strip().replace(",", ".") or 0)
    except ValueError:
        raise Invalid("customer_invalid", "price must be a number") from None


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
