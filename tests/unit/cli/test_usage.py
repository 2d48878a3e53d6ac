"""Every command can be loaded and explains itself; wrong command lines are answered in docker's words."""

from __future__ import annotations

import pytest

from knarr.cli import main as program
from knarr.cli import table

_PATHS = [[name] for name in table.COMMANDS] + [
    [group, name] for group, (_, commands) in table.GROUPS.items() for name in commands
]


@pytest.mark.parametrize("path", _PATHS, ids=" ".join)
def test_help(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage:  knarr {' '.join(path)} ")
    assert "Options:" in text
    assert "Examples:" in text
    assert "# \n" not in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("group", table.GROUPS)
def test_group_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([group]) == 0
    assert f"knarr {group} COMMAND --help" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("nosuch", 1, "knarr: unknown command: knarr nosuch\n\nRun 'knarr --help' for more information\n"),
        ("container nosuch", 1, "knarr: unknown command: knarr container nosuch\n\nUsage:  knarr container\n"),
        ("compse", 1, "knarr: unknown command: knarr compse\n"),
        ("imges", 1, "knarr: unknown command: knarr imges\n\nDid you mean:\n  knarr images\n"),
        ("container lst", 1, "knarr: unknown command: knarr container lst\n\nDid you mean:\n  knarr container ls"),
        ("--nope", 125, "unknown flag: --nope\n\nUsage:  knarr [OPTIONS] COMMAND [ARG...]\n"),
        ("run", 1, "knarr: 'knarr run' requires at least 1 argument\n\nUsage:  knarr run [OPTIONS] IMAGE"),
        ("ps extra", 1, "knarr: 'knarr ps' accepts no arguments\n\nUsage:  knarr ps [OPTIONS]\n"),
        ("tag a", 1, "knarr: 'knarr tag' requires 2 arguments"),
        ("images a b", 1, "knarr: 'knarr images' requires at most 1 argument"),
        ("ps --nope", 125, "unknown flag: --nope\n\nUsage:  knarr ps [OPTIONS]\n\nRun 'knarr ps --help'"),
        ("ps --filter x", 125, 'invalid argument "x" for "-f, --filter" flag: bad format of filter'),
        ("-H a -H b ps", 1, "Failed to initialize: unable to resolve docker endpoint: Specify only one -H"),
        ("-H unix:///nonexistent ps", 1, "Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker"),
        ("-H unix:///nonexistent run x", 125, "knarr: Cannot connect to the Docker daemon at unix:///nonexistent."),
        ("events --since bogus", 1, "failed to parse value as time or duration"),
    ],
)
def test_wrong_command_lines(line: str, status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(line.split()) == status
    assert capsys.readouterr().err.startswith(words)


def test_the_help_command(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, path in ((["help", "network", "create"], ["network", "create"]), (["help"], [])):
        program.main(asked)
        answer = capsys.readouterr().out
        program.main([*path, "--help"])
        assert answer == capsys.readouterr().out
