"""What an id may look like: it becomes a topic level, so nothing that means something in a topic may be part of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo import dialects
from relevo.domain.devices import Registry, check_id, id_for
from relevo.errors import Invalid
from relevo.wire.topics import covers

DIALECTS = dialects.load()
MARKS = "+#/$"
with_a_mark = st.tuples(st.text(max_size=10), st.sampled_from(MARKS), st.text(max_size=10)).map("".join)


@given(with_a_mark)
def test_no_device_id_holds_a_mark_of_topics(text: str) -> None:
    with pytest.raises(Invalid):
        check_id(text)


@pytest.mark.parametrize("contract", sorted(DIALECTS))
@given(text=with_a_mark)
def test_no_contract_knows_an_identity_with_a_mark_of_topics(contract: str, text: str) -> None:
    # Marks at the ends are not trimmed away either.
    with pytest.raises(Invalid) as problem:
        DIALECTS[contract].normalise_id(text)
    assert problem.value.reason == "id_invalid"
    assert "external_id" in problem.value.message


@pytest.mark.parametrize("contract", sorted(DIALECTS))
@given(text=st.text(max_size=70))
def test_whatever_a_contract_knows_gets_a_registry_id_and_topics_of_its_own(contract: str, text: str) -> None:
    dialect = DIALECTS[contract]
    try:
        identity = dialect.normalise_id(text)
    except Invalid:
        return
    if contract != "native":
        check_id(id_for(contract, identity))
        check_id(Registry().free_id(contract, identity))
    publish, subscribe = dialect.device_filters(identity)
    for filter_ in (*publish, *subscribe):
        assert not covers(filter_, "#")
        assert not filter_.startswith(("+", "#", "$"))
        if contract == "native":
            assert filter_.split("/")[1] == identity
