"""How much of what builds keep may stay."""

from __future__ import annotations

import pytest

from knarr.build.policies import Policy


@pytest.mark.parametrize(
    ("policy", "free", "kept"),
    [
        (Policy(), 50, 0),
        (Policy(most=30), 50, 30),
        (Policy(reserved=20), 50, 20),
        (Policy(most=30, reserved=40), 50, 40),
        (Policy(free=50), 50, 100),
        (Policy(free=60), 50, 90),
        (Policy(free=60, most=30), 50, 30),
        (Policy(free=500, reserved=10), 50, 10),
    ],
)
def test_what_of_100_bytes_may_stay(policy: Policy, free: int, kept: int) -> None:
    assert policy.keep(100, free) == kept
