"""Every binding line of the contracts is held by a test that exists, and the page says so."""

from tests.contract_lines import CONTRACTS, ROOT, held, holders, lines, missing, named, page


def test_every_line_has_a_test_or_a_reason() -> None:
    assert [f"{one.contract} {one.id}" for one in missing()] == []


def test_every_test_that_is_named_exists_and_every_entry_means_a_line() -> None:
    known = named()
    assert [name for said in held().values() for name in said.tests if name not in known] == []
    there = {(contract, line.id) for contract in CONTRACTS for line in lines(contract)}
    assert sorted(held().keys() - there) == []


def test_every_acceptance_check_is_a_test_of_its_name() -> None:
    known, table = named(), held()
    checks = [line for contract in CONTRACTS for line in lines(contract) if line.check]
    assert len(checks) == 75
    for line in checks:
        assert holders(line, table, known), f"{line.contract} {line.check}"


def test_the_page_is_as_it_is_made() -> None:
    assert (ROOT / "docs" / "contracts.md").read_text("utf-8") == page()
