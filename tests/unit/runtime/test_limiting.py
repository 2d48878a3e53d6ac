"""`update`: from a command line to limits."""

from __future__ import annotations

from knarr.compute.spec import Cpu
from knarr.runtime import arguments, limiting


def test_what_there_is_to_say_of_processors() -> None:
    words = ["--cpu-rt-period=900001", "--cpu-rt-runtime", "600001", "--cpu-burst=5", "--cpu-idle=1", "--cpu-share=7"]
    options = arguments.read(["update", *words, "x"])
    flags = limiting.Wanted(**{name: getattr(options, name) for name in limiting.Wanted._fields})
    expected = Cpu(realtime_period=900001, realtime_runtime=600001, burst=5, idle=1, shares=7)
    assert limiting.resources(flags).cpu == expected
