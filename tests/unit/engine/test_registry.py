"""How containers are named and found."""

from __future__ import annotations

import pytest
from containers import container

from knarr.engine import names
from knarr.engine.registry import Registry
from knarr.errors import Conflict, InvalidParameter, NotFound

FIRST, SECOND = "ab" + "1" * 62, "ab" + "2" * 62


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for id, name in ((FIRST, "one"), (SECOND, "ab1")):
        registry.reserve(name, id)
        registry.add(container(id=id, name=name))
    return registry


@pytest.mark.parametrize(
    ("reference", "id"),
    [(FIRST, FIRST), ("one", FIRST), ("/one", FIRST), ("ab11", FIRST), ("ab2", SECOND), ("ab1", SECOND)],
)
def test_find(registry: Registry, reference: str, id: str) -> None:
    assert registry.find(reference).id == id


@pytest.mark.parametrize("reference", ["", "/", "nobody", "abc", "on"])
def test_not_found(registry: Registry, reference: str) -> None:
    with pytest.raises(NotFound, match="No such container"):
        registry.find(reference)


def test_ambiguous(registry: Registry) -> None:
    with pytest.raises(InvalidParameter, match=r"multiple IDs found with provided prefix: ab$"):
        registry.find("ab")


def test_name_in_use(registry: Registry) -> None:
    with pytest.raises(Conflict, match=f'The container name "/one" is already in use by container "{FIRST}"'):
        registry.reserve("/one", "x")


def test_a_name_that_was_given_back(registry: Registry) -> None:
    registry.remove(registry.find("one"))
    assert registry.reserve("one", "x") == "one"


def test_invented_names(registry: Registry) -> None:
    name = registry.reserve(None, "x")
    names.check(name)
    assert "_" in name


def test_inventing_when_all_is_taken() -> None:
    assert names.invent(lambda name: not name[-1].isdigit())[-1].isdigit()


def test_short_ids_are_no_numbers() -> None:
    assert not any(names.new_id()[:12].isdecimal() for _ in range(1000))
