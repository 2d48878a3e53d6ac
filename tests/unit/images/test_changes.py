"""Dockerfile instructions as changes to a configuration; the expected texts are dockerd's."""

from __future__ import annotations

import re

import msgspec
import pytest

from knarr.errors import InvalidParameter
from knarr.images import changes
from knarr.images.config import ContainerDefaults

MINUTE = 60 * 10**9


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("CMD sh -c ls", {"Cmd": ["/bin/sh", "-c", "sh -c ls"]}),
        ('CMD  ["a", "b"]  ', {"Cmd": ["a", "b"]}),
        ('CMD ["a"', {"Cmd": ["/bin/sh", "-c", '["a"']}),
        ("CMD []", {}),
        ("CMD a\ncmd b", {"Cmd": ["/bin/sh", "-c", "b"]}),
        ("CMD a \\\n# a comment\n b", {"Cmd": ["/bin/sh", "-c", "a  b"]}),
        ('ENTRYPOINT ["a","b"]', {"Entrypoint": ["a", "b"]}),
        ("ENV a b c", {"Env": ["a=b c"]}),
        ('ENV A="x\\"y" B=a\\ b C=\'q r\'', {"Env": ['A=x"y', "B=a b", "C=q r"]}),
        ("ENV A=1\nENV B=$A", {"Env": ["A=1", "B=1"]}),
        ("ENV A=\nENV A=2", {"Env": ["A=2"]}),
        ("ENV A=${B:-x}", {"Env": ["A=x"]}),
        ('LABEL "a b"="c d" e=', {"Labels": {"a b": "c d", "e": ""}}),
        (
            "EXPOSE 80-81 53/udp 127.0.0.1:80:90",
            {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "53/udp": {}, "90/tcp": {}}},
        ),
        ("EXPOSE $none", {}),
        ("USER a:b", {"User": "a:b"}),
        ("WORKDIR rel", {"WorkingDir": "/rel"}),
        ("WORKDIR /a\nWORKDIR b/../c", {"WorkingDir": "/a/c"}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/x y"]', {"Volumes": {"/x y": {}}}),
        ("STOPSIGNAL SIGUSR1", {"StopSignal": "SIGUSR1"}),
        ("ONBUILD  run   ls", {"OnBuild": ["run   ls"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            'HEALTHCHECK --timeout=3s --start-period=1m30s --retries=2 CMD ["a","b"]',
            {
                "Healthcheck": {
                    "Test": ["CMD", "a", "b"],
                    "Timeout": MINUTE // 20,
                    "StartPeriod": MINUTE * 3 // 2,
                    "Retries": 2,
                }
            },
        ),
        ("HEALTHCHECK CMD curl x", {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"]}}),
    ],
)
def test_carries_out(instruction: str, expected: dict[str, object]) -> None:
    assert msgspec.to_builtins(changes.apply(ContainerDefaults(), [instruction])) == expected


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("FROM x", "from is not a valid change command"),
        ("FOO", "foo is not a valid change command"),
        ("# nothing", "file with no instructions"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV A=1 B", 'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
        ("LABEL =x", "LABEL names can not be blank"),
        ('ENV A="x', 'failed to process "\\"x": unexpected end of statement while looking for matching double-quote'),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 70000", "Invalid containerPort: 70000"),
        ("EXPOSE 80/foo", "Invalid proto: foo"),
        ("EXPOSE /tcp", "No port specified: /tcp<empty>"),
        ("USER", "USER requires exactly one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK FOO x", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --foo=1 CMD a", "unknown flag: --foo"),
        ("HEALTHCHECK --interval CMD a", "missing a value on flag: --interval"),
        ("HEALTHCHECK --interval=x CMD a", 'time: invalid duration "x"'),
        ("HEALTHCHECK --interval=1us CMD a", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries must be at least 1 (not -1)"),
    ],
)
def test_refuses_in_dockerds_words(instruction: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{re.escape(words)}$"):
        changes.apply(ContainerDefaults(), [instruction])


def test_no_changes_change_nothing() -> None:
    defaults = ContainerDefaults(cmd=["x"])
    assert changes.apply(defaults, []) is defaults


def test_what_was_given_is_not_touched() -> None:
    defaults = ContainerDefaults(env=["A=1"])
    assert changes.apply(defaults, ["ENV B=2"]).env == ["A=1", "B=2"]
    assert defaults.env == ["A=1"]


def test_a_new_entrypoint_drops_the_old_command() -> None:
    assert changes.apply(ContainerDefaults(cmd=["old"]), ["ENTRYPOINT new"]).cmd == []
    assert changes.apply(ContainerDefaults(cmd=["old"]), ['CMD ["c"]', "ENTRYPOINT new"]).cmd == ["c"]
