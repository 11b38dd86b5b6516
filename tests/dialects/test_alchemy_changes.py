"""What a PUT makes of a device: ``tests/vectors/alchemy/http/updates.json``, and what holds for any."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.dialects.alchemy import Alchemy
from relevo.dialects.alchemy.changes import expected_every_s, merged, read_texts, read_update, word_of
from relevo.errors import Invalid

UPDATES = json.loads((Path(__file__).parents[1] / "vectors" / "alchemy" / "http" / "updates.json").read_text("utf-8"))
switches = st.sampled_from([True, False, "on", "OFF", "activo", "inactivo", 1, 0])
configurations = st.fixed_dictionaries(
    {},
    optional={"modo": st.sampled_from(["manual", "horario", "", None]), "encendido": switches, "n": st.integers()},
)


@pytest.mark.parametrize("vector", UPDATES, ids=lambda vector: vector["name"])
def test_an_update_means_what_the_vector_says(vector: dict[str, Any]) -> None:
    if "field" in vector:
        with pytest.raises(Invalid) as caught:
            read_update(vector["body"], vector["estado"], vector["configuracion"])
        assert [one.field for one in caught.value.errors] == [vector["field"]]
        return
    update = read_update(vector["body"], vector["estado"], vector["configuracion"])
    assert (update.status, update.configuration) == (vector["after"]["estado"], vector["after"]["configuracion"])


@given(
    st.sampled_from(["activo", "inactivo"]),
    configurations,
    st.fixed_dictionaries(
        {"configuracion": configurations}, optional={"estado": switches, "encendido": switches, "nombre": st.text("ab")}
    ),
)
def test_after_every_update_of_a_configuration_status_and_switch_agree(
    status: str, stored: dict[str, Any], body: dict[str, Any]
) -> None:
    update = read_update(body, status, merged({}, stored))
    if body["configuracion"] or "estado" in body or "encendido" in body:
        assert (update.status == "activo") is update.configuration["encendido"]
    else:
        assert (update.status, update.configuration) == (status, merged({}, stored))
    # To send what came back changes nothing.
    echo = read_update({"configuracion": update.configuration}, update.status, update.configuration)
    if update.configuration and word_of(update.configuration.get("encendido")) is (update.status == "activo"):
        assert echo.status == update.status


def test_an_emptied_name_is_what_it_was_before_anybody_named_it() -> None:
    assert read_texts({"nombre": " ", "tipo": "", "descripcion": "", "modelo": None}) == {
        "nombre": "No definido",
        "tipo": "generico",
        "descripcion": "",
    }


@pytest.mark.parametrize(
    ("configuration", "seconds"),
    [({"intervalo_envio": 5}, 5.0), ({"intervalo_envio": 0.5}, None), ({"intervalo_envio": True}, None), ({}, None)],
)
def test_how_often_a_device_publishes(configuration: dict[str, Any], seconds: float | None) -> None:
    assert expected_every_s(configuration) == seconds


def test_another_shared_topic_has_topics_of_its_own_beside_it() -> None:
    dialect = Alchemy("casa/1/estado")
    assert dialect.filters() == ("casa/1/estado", "casa/1/+/estado")
    assert dialect.device_filters("A") == (("casa/1/A/estado", "casa/1/estado"), ())
    assert dialect.address("casa/1/A/estado") is not None
    assert dialect.address("dispositivos/estado") is None
    assert Alchemy("estado").filters() == ("estado",)
