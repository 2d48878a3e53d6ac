"""Modules that come from a file of code."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.runtime import stored_code


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The source of a module `stored_example`, whose code is in `code` next to it."""
    source = tmp_path / "stored_example.py"
    source.write_text("number = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    stored_code.write(str(tmp_path / "code"), [importlib.import_module("stored_example"), sys])
    del sys.modules["stored_example"]
    before = list(sys.meta_path)
    yield source
    sys.meta_path[:] = before
    sys.modules.pop("stored_example", None)


def use(source: Path) -> stored_code.Finder:
    """Import from the file; its finder, which has no descriptor after the test."""
    stored_code.use(str(source.with_name("code")))
    finder = sys.meta_path[0]
    assert isinstance(finder, stored_code.Finder)
    return finder


def test_a_module_comes_from_the_file(module: Path) -> None:
    finder = use(module)
    spec = importlib.util.find_spec("stored_example")
    assert spec is not None and spec.loader is finder and spec.origin == str(module)
    assert importlib.import_module("stored_example").number == 1


def test_a_changed_source_counts_more(module: Path) -> None:
    finder = use(module)
    module.write_text("number = 22\n")
    assert finder.find_spec("stored_example") is None
    assert importlib.import_module("stored_example").number == 22


def test_a_source_that_is_gone(module: Path) -> None:
    finder = use(module)
    os.unlink(module)
    assert finder.find_spec("stored_example") is None


def test_a_broken_file_is_done_without(tmp_path: Path) -> None:
    before = list(sys.meta_path)
    (tmp_path / "code").write_bytes(b"\x05\x00\x00\x00nope!")
    stored_code.use(str(tmp_path / "code"))
    stored_code.use(str(tmp_path / "missing"))
    assert sys.meta_path == before
