"""Settings over the API: what ``relevo settings`` prints, with nothing of a secret but whether it is set."""

import httpx

from relevo.settings import load
from relevo.settings.page import describe, tell
from tests.http.problems import problem

PATH = "/api/v1/system/settings"
SECRET = "a-secret-that-nobody-may-see-0123456789"


def test_administrators_see_each_with_its_origin_and_others_none(api: httpx.Client, anonymous: httpx.Client) -> None:
    items = {one["name"]: one for one in api.get(PATH).json()["items"]}
    assert items["limits.batch_items"]["value"] == "50"
    assert items["limits.batch_items"]["source"] == "environment"
    assert items["limits.batch_items"]["origin"] == "environment RELEVO_LIMITS__BATCH_ITEMS"
    assert items["limits.batch_items"]["least"] is not None
    assert items["commands.ttl_s"]["source"] == "default"
    assert items["admin_password"] | {"help": ""} == {
        "name": "admin_password",
        "value": None,
        "set": True,
        "secret": True,
        "default": items["admin_password"]["default"],
        "origin": "environment RELEVO_ADMIN_PASSWORD",
        "source": "environment",
        "help": "",
        "environment": "RELEVO_ADMIN_PASSWORD",
        "least": None,
        "most": None,
    }
    assert items["data"]["source"] == "option"
    assert all(one["help"] for one in items.values())
    problem(anonymous.get(PATH), 401)


def test_no_secret_and_no_part_of_one_is_told() -> None:
    env = {"RELEVO_ADMIN_PASSWORD": SECRET, "RELEVO_NOTIFICATIONS__SMTP_URL": f"smtp://me:{SECRET}@mail.example.org"}
    settings = load({}, env | {"RELEVO_NOTIFICATIONS__MAIL_FROM": "relevo@example.org"})
    told = tell(settings)
    assert [one.name for one in told] == [one.name for one in describe(settings)]
    assert SECRET not in repr(told)
    assert {"admin_password", "notifications.smtp_url"} <= {one.name for one in told if one.secret and one.set}
    assert all(one.value is None for one in told if one.secret)
    assert {one.source for one in told} <= {"default", "environment", "option", "profile", "file"}
