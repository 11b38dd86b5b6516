"""Which key opens which device, and for how long: everything without a socket and with a clock that stands still."""

import secrets

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from relevo.clock import ManualClock
from relevo.domain.credentials import Credential
from relevo.domain.devices import Device, Registry
from relevo.domain.events import DeviceChanged, DeviceRegistered, DeviceRemoved
from relevo.domain.keyring import Keyring, Shown
from relevo.domain.records import Dropped, Kept

OLD, NEW = b"the-first-key-of-the-lamp", b"the-key-after-the-rotation"


class Bench:
    """A registry, a keyring and a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = Registry()
        self.ring = Keyring(self.registry, b"pepper")

    def device(self, name: str, key: bytes = b"") -> Device:
        self.registry.apply(DeviceRegistered(name, "native", name, name, "t", 0, self.ring.hash(key) if key else ""))
        return self.now(name)

    def now(self, name: str) -> Device:
        device = self.registry.get(name)
        assert device is not None
        return device

    def add(self, device: str, kind: str, kept: str, *, hours: float = 0, username: str = "") -> Credential:
        at = self.clock.now_ms()
        until = at + round(hours * 3_600_000) if hours else 0
        one = Credential(secrets.token_hex(4), device, kind, kept, at, until, username)
        self.ring.apply(Kept(one))
        return one

    def rotate(self, name: str, key: bytes, grace_h: float) -> Credential:
        """As the road applies it: the registry first, the records after it."""
        before = self.now(name).key_hash
        self.registry.apply(DeviceChanged(name, 0, {"key_hash": self.ring.hash(key)}))
        return self.add(name, "key", before, hours=grace_h)

    def opens(self, name: str, key: bytes) -> bool:
        return self.ring.fits(self.now(name), key, self.clock.now_ms())

    def check(self, name: str, key: bytes) -> Shown | None:
        return self.ring.check_key(self.now(name), key, self.clock.now_ms())


def test_after_a_rotation_both_keys_open_until_the_grace_ends_and_then_the_new_one_alone() -> None:
    bench = Bench()
    bench.device("lamp", OLD)
    bench.rotate("lamp", NEW, 24)
    assert bench.opens("lamp", OLD)
    assert bench.opens("lamp", NEW)
    bench.clock.advance(24 * 3600 - 1)
    assert bench.opens("lamp", OLD)
    bench.clock.advance(1)
    assert not bench.opens("lamp", OLD)
    assert bench.opens("lamp", NEW)


def test_who_came_in_with_the_old_key_stands_through_the_rotation_and_until_its_end() -> None:
    bench = Bench()
    bench.device("lamp", OLD)
    shown = bench.check("lamp", OLD)
    assert shown is not None
    bench.rotate("lamp", NEW, 1)
    assert bench.ring.stands("lamp", shown.kept, bench.clock.now_ms())
    bench.clock.advance(3600)
    assert not bench.ring.stands("lamp", shown.kept, bench.clock.now_ms())
    after = bench.check("lamp", OLD)
    assert after is not None, "an expired key is told apart from a wrong one"
    assert after.expired
    assert [one.device for one in bench.ring.expired(bench.clock.now_ms())] == ["lamp"]


def test_a_key_from_before_keyed_hashes_survives_a_rotation() -> None:
    bench = Bench()
    device = bench.device("lamp")
    old = msgspec.structs.replace(device, key_hash="6c5a3d9f")
    from hashlib import sha256

    old = msgspec.structs.replace(old, key_hash=sha256(OLD).hexdigest())
    bench.registry.load([old])
    assert bench.opens("lamp", OLD)
    bench.rotate("lamp", NEW, 1)
    assert bench.opens("lamp", OLD)
    assert bench.ring.device_of(OLD, bench.clock.now_ms()) == "lamp"


def test_a_key_opens_its_own_device_and_no_other() -> None:
    bench = Bench()
    for name in ("lamp", "door"):
        bench.device(name, name.encode())
    bench.add("door", "key", bench.ring.hash(b"second"))
    assert bench.opens("door", b"second")
    assert not bench.opens("lamp", b"second")
    assert bench.check("lamp", b"second") is None
    assert not bench.opens("door", b"lamp")
    assert bench.ring.device_of(b"second", 0) == "door"


def test_what_is_dropped_opens_nothing_and_the_rest_stands() -> None:
    bench = Bench()
    bench.device("lamp", OLD)
    one, two = (bench.add("lamp", "key", bench.ring.hash(key)) for key in (b"one", b"two"))
    bench.ring.apply(Dropped(Credential, one.id))
    assert not bench.opens("lamp", b"one")
    assert not bench.ring.stands("lamp", one.secret_hash, 0)
    assert bench.opens("lamp", b"two")
    assert bench.ring.stands("lamp", two.secret_hash, 0)
    assert bench.opens("lamp", OLD)


def test_a_removed_device_stands_with_nothing() -> None:
    bench = Bench()
    bench.device("lamp", OLD)
    kept = bench.add("lamp", "key", bench.ring.hash(b"one")).secret_hash
    bench.registry.apply(DeviceRemoved("lamp", 0))
    assert not bench.ring.stands("lamp", kept, 0)


def test_a_generated_password_needs_its_own_user_name_where_one_is_shown() -> None:
    bench = Bench()
    device = bench.device("lamp")
    one = bench.add("lamp", "password", bench.ring.hash(b"generated"), username="kitchen")
    fits = bench.ring.fits
    assert fits(device, b"generated", 0, "kitchen")
    assert fits(device, b"generated", 0)
    assert not fits(device, b"generated", 0, "lamp")
    assert bench.ring.check_generated(one, b"generated", 0) == Shown("lamp", one.secret_hash, False)
    assert bench.ring.check_generated(one, b"other", 0) is None
    # It is no key: with the device id as user name it opens nothing.
    assert bench.check("lamp", b"generated") is None


def test_a_user_name_that_was_revoked_is_remembered_until_it_is_given_again() -> None:
    bench = Bench()
    bench.device("lamp")
    one = bench.add("lamp", "password", bench.ring.hash(b"p"), username="kitchen")
    bench.ring.apply(Dropped(Credential, one.id))
    assert bench.ring.by_username("kitchen") is None
    assert bench.ring.former_owner("kitchen") == "lamp"
    bench.add("lamp", "password", bench.ring.hash(b"q"), username="kitchen")
    assert bench.ring.former_owner("kitchen") == ""


def test_what_is_remembered_of_revoked_user_names_is_bounded() -> None:
    bench = Bench()
    bench.device("lamp")
    for n in range(1_200):
        one = bench.add("lamp", "password", f"h{n}", username=f"u{n}")
        bench.ring.apply(Dropped(Credential, one.id))
    assert bench.ring.former_owner("u0") == ""
    assert bench.ring.former_owner("u1199") == "lamp"


actions = st.lists(st.tuples(st.sampled_from("kd"), st.integers(0, 4), st.integers(0, 2)), max_size=40)


@given(actions)
def test_after_any_changes_the_ring_opens_exactly_what_is_kept(steps: list[tuple[str, int, int]]) -> None:
    """Records may be kept again under the same id with another key or device, and dropped twice."""
    bench = Bench()
    for n in range(3):
        bench.device(f"d{n}")
    model: dict[str, tuple[str, bytes]] = {}
    for action, number, device in steps:
        id_, key = f"c{number}", f"key-{number}-{device}".encode()
        if action == "k":
            model[id_] = (f"d{device}", key)
            bench.ring.apply(Kept(Credential(id_, f"d{device}", "key", bench.ring.hash(key), 0, username=id_)))
        else:
            model.pop(id_, None)
            bench.ring.apply(Dropped(Credential, id_))
    for number in range(5):
        for device in range(3):
            key = f"key-{number}-{device}".encode()
            assert bench.opens(f"d{device}", key) == ((f"d{device}", key) in model.values())
        found = bench.ring.by_username(f"c{number}")
        assert (found is not None) == (f"c{number}" in model)
    for device in range(3):
        held = {one.id for one in bench.ring.of_device(f"d{device}")}
        assert held == {id_ for id_, (owner, _) in model.items() if owner == f"d{device}"}
        assert bench.ring.guards(bench.now(f"d{device}")) == bool(held)
