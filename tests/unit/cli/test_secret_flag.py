"""`--secret`."""

from __future__ import annotations

from typing import Any

import pytest

from knarr.cli.creation.secrets import parse_secret


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("pw", {"Source": "pw"}),
        ("source=pw", {"Source": "pw"}),
        (
            "src=pw,target=/k,uid=5,gid=6,mode=0440",
            {"Source": "pw", "Target": "/k", "UID": "5", "GID": "6", "Mode": 0o440},
        ),
    ],
)
def test_forms(word: str, reference: dict[str, Any]) -> None:
    assert parse_secret(word) == reference


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("pw,target", "invalid field 'pw' must be a key=value pair"),
        ("source=pw,type=env", "invalid field key 'type' in secret request"),
        ("target=x", "source is required"),
        ("source=pw,mode=rw", "invalid mode specified: rw"),
    ],
)
def test_refused(word: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_secret(word)
