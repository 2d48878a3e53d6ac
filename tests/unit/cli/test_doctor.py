"""How findings are shown, and the exit status."""

from __future__ import annotations

import pytest

from knarr.cli.commands import doctor
from knarr.cli.errors import CommandError
from knarr.doctor.finding import missing, ok, unknown


def test_a_line_says_what_is_there() -> None:
    assert doctor.line(ok("pasta", "/usr/bin/pasta")) == "  ok           pasta: /usr/bin/pasta"
    assert doctor.line(ok("veth")) == "  ok           veth"


def test_what_is_missing_comes_with_its_meaning_and_remedy() -> None:
    shown = doctor.line(missing("pasta", "not in PATH", "containers reach nothing outside", "apt-get install passt"))
    assert shown.split("\n") == [
        "  missing      pasta: not in PATH",
        "               containers reach nothing outside",
        "               → apt-get install passt",
    ]


def test_an_engine_can_run_without_what_is_not_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.conclude([ok("a"), missing("b", "gone", "a loss")], quiet=False) == 0
    assert capsys.readouterr().out == "\nAn engine can run here, but for what is missing above (1).\n"


def test_what_could_not_be_seen_is_not_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.conclude([ok("a"), unknown("b", "root's to see")], quiet=False) == 0
    assert capsys.readouterr().out == "\nAs far as can be told, an engine can run here.\n"


def test_an_engine_cannot_run_without_what_is_needed() -> None:
    findings = [missing("a", "", "", needed=True), missing("b", "", ""), missing("c", "", "", needed=True)]
    with pytest.raises(CommandError, match="An engine cannot run here without: a, c") as raised:
        doctor.conclude(findings, quiet=True)
    assert raised.value.status == 1
