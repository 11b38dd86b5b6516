"""Sites: places where devices are, with the clocks and the sun that hold there.

A device's site is a name; what is known of the place is a record. A schedule that names no zone of its own takes it,
and its coordinates, from the site that its devices share.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from relevo.domain.bulk import Selection
from relevo.domain.devices import Registry
from relevo.domain.zones import check_zone
from relevo.errors import FieldError, Invalid

NAME_LIMIT: Final = 64
SITES_MOST: Final = 10_000


class Site(msgspec.Struct):
    """One place: an IANA time zone, and degrees north and east where the sun matters."""

    id: str
    zone: str
    lat: float | None = None
    lon: float | None = None


def check_site(site: Site) -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong."""
    wrong: list[FieldError] = []
    if not 0 < len(site.id) <= NAME_LIMIT or not site.id.isprintable():
        wrong.append(FieldError("name", f"must be 1 to {NAME_LIMIT} printable characters", "site_invalid"))
    try:
        check_zone(site.zone)
    except Invalid as error:
        wrong += error.errors
    for field, value, most in (("lat", site.lat, 90), ("lon", site.lon, 180)):
        if value is not None and not -most <= value <= most:
            wrong.append(FieldError(field, f"must be -{most} to {most} degrees", "site_invalid"))
    if (site.lat is None) != (site.lon is None):
        wrong.append(FieldError("lat", "and lon are given together", "site_invalid"))
    if wrong:
        raise Invalid("site_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)


def shared(selections: Iterable[Selection], registry: Registry, sites: Mapping[str, Site]) -> Site | None:
    """The site at which all devices are that ``selections`` mean, when there is one and something is known of it."""
    names: set[str] = set()
    for selection in selections:
        if selection.site:
            names.add(selection.site)
        elif selection.devices:
            held = map(registry.get, selection.devices)
            names |= {device.site for device in held if device is not None}
        else:
            names |= {device.site for device in registry.all() if selection.fits(device)}
    return sites.get(names.pop()) if len(names) == 1 else None
