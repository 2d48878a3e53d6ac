from __future__ import annotations

import pytest

from knarr.cli.errors import FlagError
from knarr.cli.flags import number, parse, switch, text, words

_FLAGS = (
    switch("r remove", ""),
    text("n name", ""),
    words("e env", ""),
    number("- size volume", ""),
    switch("proxy", "", default=True),
)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--name x", "name", "x"),
        ("--name=x", "name", "x"),
        ("--name= y", "name", ""),
        ("-n x", "name", "x"),
        ("-nx", "name", "x"),
        ("-n=x", "name", "x"),
        ("-rn x", "name", "x"),
        ("-rn=x=y", "name", "x=y"),
        ("--name -x", "name", "-x"),
        ("-n -- a", "name", "--"),
        ("--remove", "remove", True),
        ("--remove=false", "remove", False),
        ("-r=0", "remove", False),
        ("", "proxy", True),
        ("--proxy=f", "proxy", False),
        ("-e a -e b --env=c", "env", ["a", "b", "c"]),
        ("--size 0x10", "size", 16),
        ("--size 010", "size", 8),
        ("--size -1", "size", -1),
        ("--volume 3", "size", 3),
        ("a --name x b", "name", "x"),
    ],
)
def test_values(line: str, name: str, value: object) -> None:
    assert parse(_FLAGS, line.split()).get(name) == value


@pytest.mark.parametrize(
    ("line", "words_of_error"),
    [
        ("--nam x", "unknown flag: --nam"),
        ("-rz", "unknown shorthand flag: 'z' in -z"),
        ("--name", "flag needs an argument: --name"),
        ("-rn", "flag needs an argument: 'n' in -n"),
        ("--remove=maybe", '"-r, --remove" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("--size 1x", 'invalid argument "1x" for "--size" flag: strconv.ParseInt: parsing "1x": invalid syntax'),
        ("--size 9223372036854775808", 'strconv.ParseInt: parsing "9223372036854775808": value out of range'),
        ("---x", "bad flag syntax: ---x"),
    ],
)
def test_errors(line: str, words_of_error: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(_FLAGS, line.split())
    assert str(caught.value).endswith(words_of_error)


def test_flags_after_arguments_belong_to_the_container() -> None:
    options = parse(_FLAGS, ["-r", "image", "ls", "--name", "x"], interspersed=False)
    assert options.arguments == ["image", "ls", "--name", "x"]
    assert not options.given("name")


def test_flags_may_follow_arguments() -> None:
    assert parse(_FLAGS, ["a", "-r", "b", "--", "-n"]).arguments == ["a", "b", "-n"]
