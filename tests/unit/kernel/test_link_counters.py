from __future__ import annotations

from knarr.kernel import link_counters
from knarr.kernel.link_counters import LinkCounters

_TEXT = """Inter-|   Receive                                      |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  100       1    0    0    0     0          0         0   100       1    0    0    0     0       0          0
  eth0: 5338      36    1    2    3     4          5         6   648       8    7    9   10    11      12         13
"""


def test_the_loopback_does_not_count() -> None:
    assert link_counters.parse(_TEXT) == {"eth0": LinkCounters(5338, 36, 1, 2, 648, 8, 7, 9)}


def test_nothing_is_seen_of_a_process_that_is_not_there() -> None:
    assert link_counters.read(2**31 - 1) == {}
