"""Customers and their meters: ``/api/clientes/{id}/dispositivos/current`` (contract hidrometro, section 4), and
``/api/v1/customers`` with which they are kept."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from relevo.domain.accounts import Identity, Role
from relevo.domain.customers import (
    CONTACT_LIMIT,
    CUSTOMERS_MOST,
    NAME_LIMIT,
    PRICE_MOST,
    Customer,
    check_customer,
    cost,
)
from relevo.domain.devices import Device
from relevo.domain.meters import (
    CONTRACT,
    CUSTOMER,
    FLOW,
    FLOWED,
    TOTAL,
    customer_of,
    model_of,
    number_of,
    state_of,
    whole,
)
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.times import iso
from relevo.http.hidrometro.access import meters_of
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Services, Wired

router = APIRouter(tags=["hidrometro"])

Number = Annotated[int, Path(ge=1, le=2**53)]


@router.get("/api/clientes/{number}/dispositivos/current", summary="The meters of a customer and their last readings")
async def current(wired: Wired, identity: Viewer, number: str) -> Response:
    """Those that one may view; 404 for a customer of whom one may see none."""
    wanted = whole(number)
    meters = [one for one in meters_of(identity, wired) if wanted is not None and customer_of(one) == wanted]
    known = identity.role is Role.ADMINISTRATOR and wanted in wired.consumption.customers
    if not meters and not known:
        raise NotFound("cliente_not_found")
    return JSONResponse({"cliente_id": wanted, "dispositivos": [_meter(wired, one) for one in meters]})


def _meter(wired: Services, device: Device) -> dict[str, Any]:
    return {
        "dispositivo_id": number_of(device),
        "numero_serie": device.external_id,
        "modelo": model_of(device),
        "status": state_of(device),
        "ultima_leitura": last_reading(wired, device),
    }


def last_reading(wired: Services, device: Device) -> dict[str, Any] | None:
    """The newest stored reading, ``None`` before the first."""
    values, _ = wired.latest(device.id)
    if TOTAL not in values:
        return None
    shown = {name: values[key][0] if key in values else None for name, key in _LAST}
    return {"data_hora": iso(values[TOTAL][1]), **shown}


_LAST = (("consumo_litros", FLOWED), ("total_liters", TOTAL), ("flow_lmin", FLOW))


class CustomerIn(BaseModel):
    """A customer; ``price`` is for a cubic metre."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=NAME_LIMIT)
    contact: str = Field(default="", max_length=CONTACT_LIMIT)
    price: float = Field(default=0, ge=0, le=PRICE_MOST, strict=True)
    currency: str = Field(default="BRL", pattern="^[A-Z]{3}$")
    tariff: str = Field(default="", max_length=64, description="The id of a tariff, in the place of the price.")


class MeterUse(BaseModel):
    """One meter of a customer, with litres by month, newest first, and what the newest month cost so far."""

    device: str
    serial: str
    months: dict[str, float]
    cost: float


class CustomerOut(CustomerIn):
    """A customer as ``cliente_id`` knows them, with the meters that one may view."""

    id: int
    created: str | None
    meters: list[MeterUse]


class CustomerPage(BaseModel):
    """By number."""

    items: list[CustomerOut]
    next: str | None


def use_of(wired: Services, device: Device, price: float) -> dict[str, Any]:
    """What flowed through a meter, and what the newest month costs."""
    months = {month: round(litres, 3) for month, litres in wired.consumption.months(device.id).items()}
    newest = next(iter(months.values()), 0.0)
    return {"device": device.id, "serial": device.external_id, "months": months, "cost": cost(newest, price)}


def render(wired: Services, identity: Identity, customer: Customer) -> dict[str, Any]:
    meters = [one for one in meters_of(identity, wired) if customer_of(one) == customer.number]
    return {
        "id": customer.number,
        "name": customer.name,
        "contact": customer.contact,
        "price": customer.price,
        "currency": customer.currency,
        "tariff": customer.tariff,
        "created": iso(customer.created_at),
        "meters": [use_of(wired, one, customer.price) for one in meters],
    }


def visible(wired: Services, identity: Identity) -> list[Customer]:
    """All for administrators, otherwise those of the meters that one may view; by number."""
    customers = wired.consumption.customers
    numbers = set(customers)
    if identity.role is not Role.ADMINISTRATOR:
        numbers &= {number for one in meters_of(identity, wired) if (number := customer_of(one)) is not None}
    return [customers[number] for number in sorted(numbers)]


@router.get("/api/v1/customers", response_model=CustomerPage)
async def page(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Customers of whom one may view a meter, with what flowed; administrators see all."""
    return {"items": [render(wired, identity, one) for one in visible(wired, identity)], "next": None}


@router.post("/api/v1/customers", status_code=201, response_model=CustomerOut)
async def create(request: Request, wired: Wired, identity: Administrator, body: CustomerIn) -> dict[str, Any]:
    """A new customer. A meter is theirs by its attribute `id_cliente`."""
    return render(wired, identity, await keep(request, wired, identity, None, body.model_dump()))


@router.put("/api/v1/customers/{number}", response_model=CustomerOut)
async def change(
    request: Request, wired: Wired, identity: Administrator, number: Number, body: CustomerIn
) -> dict[str, Any]:
    """Change a customer."""
    known = wired.consumption.customers.get(number)
    if known is None:
        raise NotFound(f"no customer {number}")
    return render(wired, identity, await keep(request, wired, identity, known, body.model_dump()))


@router.delete("/api/v1/customers/{number}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Administrator, number: Number) -> None:
    """Forget a customer who has no meters any more."""
    if number not in wired.consumption.customers:
        raise NotFound(f"no customer {number}")
    held = [one.external_id for one in wired.registry.of_contract(CONTRACT) if customer_of(one) == number]
    if held:
        raise Conflict(f"customer {number} has meters: take {CUSTOMER} from {', '.join(held[:5])} first")
    audited = wired.audited(request, identity, "customer.delete", str(number))
    await wired.pipeline.accept([Dropped(Customer, str(number)), audited])


async def keep(
    request: Request, wired: Services, identity: Identity, known: Customer | None, fields: dict[str, Any]
) -> Customer:
    """A new or changed customer, once it is stored. Raises :class:`Invalid` and :class:`Conflict`."""
    customers = wired.consumption.customers
    if known is None:
        if len(customers) >= CUSTOMERS_MOST:
            raise Conflict(f"there are {CUSTOMERS_MOST} customers, which is the limit")
        taken = {one for one in map(customer_of, wired.registry.of_contract(CONTRACT)) if one is not None}
        number = max(customers.keys() | taken | wired.consumption.promised | {0}) + 1
        wired.consumption.promised.add(number)
        customer = Customer(str(number), created_at=wired.clock.now_ms(), **fields)
    else:
        customer = msgspec.structs.replace(known, **fields)
    check_customer(customer)
    if customer.tariff and customer.tariff not in wired.consumption.tariffs:
        message = f"tariff {customer.tariff!r} is not there"
        raise Invalid("tariff_unknown", message, [FieldError("tariff", message, "tariff_unknown")])
    done = "customer.change" if known else "customer.create"
    await wired.pipeline.accept([Kept(customer), wired.audited(request, identity, done, customer.id)])
    return customer
