"""Prometheus's text format."""

from __future__ import annotations

import pytest

from knarr.engine.metrics import Timer, family


def test_a_timer_counts_what_is_at_most_each_bound() -> None:
    timer = Timer("t_seconds", "Times", "action", ("start",))
    for seconds in (0.005, 0.03, 20):
        timer.observe("start", seconds)
    lines = list(timer.lines())
    assert lines[:2] == ["# HELP t_seconds Times", "# TYPE t_seconds histogram"]
    assert 't_seconds_bucket{action="start",le="0.005"} 1' in lines
    assert 't_seconds_bucket{action="start",le="0.05"} 2' in lines
    assert 't_seconds_bucket{action="start",le="+Inf"} 3' in lines
    assert lines[-2:] == ['t_seconds_sum{action="start"} 20.035', 't_seconds_count{action="start"} 3']


def test_what_fails_is_not_counted() -> None:
    timer = Timer("t_seconds", "Times", "action", ("start",))
    with pytest.raises(ValueError, match="no"), timer.measure("start"):
        raise ValueError("no")
    with timer.measure("start"):
        pass
    assert 't_seconds_count{action="start"} 1' in list(timer.lines())


def test_labels_are_escaped() -> None:
    assert list(family("gauge", "g", "Help", [({"a": 'x"\\\n'}, 1), ({}, 2)])) == [
        "# HELP g Help",
        "# TYPE g gauge",
        'g{a="x\\"\\\\\\n"} 1',
        "g 2",
    ]
