"""A loaded program filters the thread that loaded it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.compute.native import filters
from knarr.compute.spec import Seccomp, SeccompSyscall
from knarr.kernel import seccomp


def test_a_child_gets_the_answer_of_the_profile(tmp_path: Path) -> None:
    profile = Seccomp("SCMP_ACT_ALLOW", syscalls=[SeccompSyscall(["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", 95)])
    program, flags = filters.compile(profile), filters.flags(profile)
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(program, flags)
            os.mkdir(tmp_path / "x")
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 95


def test_a_broken_program_is_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        seccomp.load(b"\xff" * 8)
