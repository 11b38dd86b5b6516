import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.devices import ID_PATTERN, Device, Registry, check_id, id_for
from relevo.domain.events import DeviceChanged
from relevo.errors import Invalid
from tests.store.samples import NOW, reading, registered, removed


@pytest.mark.parametrize("text", ["a", "A-1", "esp32_01", "AA:BB:CC:DD:EE:FF", "x.y", "0" * 64])
def test_an_id_that_can_be_a_topic_level_and_a_file_name_is_taken(text: str) -> None:
    assert check_id(text) == text


@pytest.mark.parametrize("text", ["", "a" * 65, "a/b", "a b", "+", "#", "ç", "a\n", "a\0", "../x", None, 5])
def test_anything_else_is_refused_with_the_rule(text: object) -> None:
    with pytest.raises(Invalid, match="must be 1 to 64 characters") as caught:
        check_id(text, "device")  # type: ignore[arg-type]
    assert caught.value.reason == "id_invalid"
    assert caught.value.errors[0].field == "device"


@given(st.sampled_from(["hidrometro", "autocore", "thingsnxt"]), st.text(max_size=100))
def test_every_foreign_identity_leads_to_a_valid_id(contract: str, external_id: str) -> None:
    assert ID_PATTERN.fullmatch(id_for(contract, external_id))


@given(st.lists(st.sampled_from(["A", "a", "Á", "A ", "A/", "-A-", "x" * 80, "x" * 81]), max_size=12))
def test_ids_of_different_identities_never_meet(external_ids: list[str]) -> None:
    registry = Registry()
    for external_id in external_ids:
        if registry.find("hidrometro", external_id) is None:
            device = registry.free_id("hidrometro", external_id)
            assert ID_PATTERN.fullmatch(device)
            assert registry.get(device) is None
            registry.apply(registered(device, "hidrometro", external_id))
    assert len(registry) == len(set(external_ids))


def test_a_native_device_is_called_as_it_calls_itself() -> None:
    assert id_for("native", "esp32:01") == "esp32:01"


def test_a_device_is_found_by_id_and_by_identity_until_it_is_removed() -> None:
    registry = Registry()
    registry.apply(registered("meter", "hidrometro", "ABC"))
    assert registry.get("meter") is registry.find("hidrometro", "ABC")
    assert registry.find("native", "ABC") is None
    registry.apply(removed("meter"))
    assert (registry.get("meter"), registry.find("hidrometro", "ABC"), len(registry)) == (None, None, 0)
    registry.apply(removed("meter"))


def test_a_change_takes_what_may_change_and_leaves_the_rest() -> None:
    registry = Registry()
    registry.apply(registered("d1"))
    registry.apply(DeviceChanged("d1", NOW, {"name": "New", "tags": ["a"], "id": "d2", "external_id": "x"}))
    registry.apply(DeviceChanged("nobody", NOW, {"name": "New"}))
    device = registry.get("d1")
    assert device is not None
    assert (device.id, device.external_id, device.name, device.tags) == ("d1", "x", "New", ["a"])
    assert registry.find("native", "d1") is None
    assert registry.find("native", "x") is device
    assert registry.get("d2") is None


def test_all_are_listed_by_id() -> None:
    registry = Registry()
    registry.load([Device(name, "native", name, name, "t", NOW) for name in ("c", "a", "b")])
    assert [device.id for device in registry.all()] == ["a", "b", "c"]


def test_every_change_and_nothing_else_raises_the_epoch() -> None:
    registry = Registry()
    epochs = [registry.epoch]
    for event in (registered("d1"), DeviceChanged("d1", NOW, {"name": "n"}), removed("d1")):
        registry.apply(event)
        assert registry.epoch > epochs[-1]
        epochs.append(registry.epoch)
    for event in (removed("d1"), reading("d1"), DeviceChanged("d1", NOW, {"name": "n"})):
        registry.apply(event)
    assert registry.epoch == epochs[-1]
