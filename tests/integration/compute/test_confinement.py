"""What programs say to security modules before they run.

With another file of a process's own in place of AppArmor's and SELinux's, which this kernel may not have.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compute_bench import Bench, runtime_spec
from runtime_bench import Runtime

from knarr.compute.interface import StartFailed
from knarr.compute.native import confinement
from knarr.kernel import apparmor, selinux


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"apparmorProfile": "mine"}, "apparmor: config provided but apparmor not supported"),
        ({"selinuxLabel": "u:r:t:s0"}, "selinux label is specified in config, but selinux is disabled"),
    ],
)
@pytest.mark.skipif(apparmor.enabled() or selinux.enabled(), reason="they are supported here")
def test_security_modules_that_are_not_there(runtime: Runtime, process: dict[str, str], words: str) -> None:
    runtime.configure(runtime_spec("true"))
    config = json.loads((runtime.bundle / "config.json").read_text())
    config["process"] |= process
    (runtime.bundle / "config.json").write_text(json.dumps(config))
    assert words in runtime("run", runtime.id).stderr


def test_the_program_of_a_container_says_it_itself(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "cat /proc/self/oom_score_adj; sleep 60", apparmor_profile="x")
    runtime.configure(spec)
    program = (
        "import sys; from knarr.compute.native import confinement; from knarr.runtime.main import serve;"
        "confinement.for_program = lambda process: [('oom_score_adj', '123')]; confinement.for_init = lambda _: [];"
        "sys.exit(serve(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "--root", str(runtime.directory / "root")]
    settings: dict[str, Any] = {"cwd": runtime.bundle, "stdin": subprocess.DEVNULL, "check": True}
    subprocess.run([*command, "run", "--detach", runtime.id], **settings, stdout=subprocess.DEVNULL)
    main = json.loads(runtime.ok("state", runtime.id))["pid"]
    added = subprocess.run(
        [*command, "exec", runtime.id, "cat", "/proc/self/oom_score_adj"], **settings, stdout=subprocess.PIPE
    )
    assert (Path(f"/proc/{main}/oom_score_adj").read_text(), added.stdout) == ("123\n", b"123\n")


def test_process_1_says_it_too_if_it_is_not_the_program(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "for_program", lambda process: [("oom_score_adj", "123")])
    monkeypatch.setattr(confinement, "for_init", lambda process: [("oom_score_adj", "77")])
    spec = runtime_spec("cat", "/proc/1/oom_score_adj", "/proc/self/oom_score_adj", apparmor_profile="x")
    ended, output = bench.run(spec, init=True)
    assert (ended.code, output) == (0, "77\n123\n")


def test_a_step_that_fails_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "for_program", lambda process: [("attr/no-such", "exec x")])
    monkeypatch.setattr(confinement, "for_init", lambda process: [])
    with pytest.raises(StartFailed, match='writing "exec x" to /proc/thread-self/attr/no-such: no such file'):
        bench.start(runtime_spec("true", apparmor_profile="x"))
