from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import ParamSpec

import pytest

from knarr.database import Database
from knarr.engine.sizes import Sizes, Tree
from knarr.errors import NotFound

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


class Walk:
    """A tree of a size, which is found out once `go` is set."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.times = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> int:
        self.go.wait()
        self.times += 1
        return self.size


@in_loop
async def test_a_tree_that_may_change_is_walked_each_time(database: Database) -> None:
    sizes, walk = Sizes(database), Walk(5)
    assert await sizes.of({"t": Tree(walk)}) == {"t": 5}
    walk.size = 6
    assert await sizes.of({"t": Tree(walk)}) == {"t": 6}
    await sizes.close()


@in_loop
async def test_a_tree_at_rest_is_walked_once(database: Database) -> None:
    sizes, walk = Sizes(database), Walk(5)
    for state, times in (("a", 1), ("a", 1), ("b", 2)):
        await sizes.of({"t": Tree(walk, state)})
        assert walk.times == times
    sizes.unsettle("t")
    await sizes.of({"t": Tree(walk, "b")})
    assert walk.times == 3
    await sizes.close()


@in_loop
async def test_a_long_walk_is_not_waited_for(database: Database) -> None:
    sizes, walk = Sizes(database), Walk(5)
    await sizes.of({"t": Tree(walk)})
    walk.size = 6
    walk.go.clear()
    assert await sizes.of({"t": Tree(walk), "other": Tree(Walk(1))}, 0.01) == {"t": 5, "other": 1}
    walk.go.set()
    assert await sizes.of({"t": Tree(walk)}, None) == {"t": 6}
    await sizes.close()


@in_loop
async def test_who_asks_meanwhile_shares_a_walk(database: Database) -> None:
    sizes, walk = Sizes(database), Walk(5)
    walk.go.clear()
    for _ in range(5):
        assert await sizes.of({"t": Tree(walk)}, 0.001) == {"t": None}
    walk.go.set()
    await sizes.of({"t": Tree(walk)}, None)
    assert walk.times <= 3  # two that had begun, and one for all the others
    await sizes.close()


@in_loop
async def test_what_was_found_outlives_the_engine(database: Database) -> None:
    sizes, walk = Sizes(database), Walk(5)
    await sizes.of({"t": Tree(walk), "gone": Tree(walk), "forgotten": Tree(walk)})
    sizes.forget("forgotten")
    await sizes.close()
    again = Sizes(database)
    again.retain({"t"})
    walk.go.clear()
    found = await again.of({name: Tree(walk) for name in ("t", "gone", "forgotten")}, 0.01)
    assert found == {"t": 5, "gone": None, "forgotten": None}
    walk.go.set()
    await again.close()


@in_loop
async def test_a_tree_that_goes_away(database: Database) -> None:
    def measure() -> int:
        raise NotFound("gone")

    sizes = Sizes(database)
    assert await sizes.of({"t": Tree(measure)}) == {"t": None}
    await sizes.close()
