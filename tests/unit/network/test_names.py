from __future__ import annotations

from pathlib import Path

from knarr.network.names import bridge_name, table_name


def test_default_run_root() -> None:
    assert bridge_name(Path("/run/knarr")) == "knarr0"
    assert table_name(Path("/run/knarr")) == "knarr"


def test_other_run_roots_have_names_of_their_own(tmp_path: Path) -> None:
    one, two = bridge_name(tmp_path / "one"), bridge_name(tmp_path / "two")
    assert one != two
    assert len(one) <= 15
    assert one == bridge_name(tmp_path / "x/../one") == table_name(tmp_path / "one")
