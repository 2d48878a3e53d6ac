"""A container in a group of resctrl: ordinary files in place of that file system, which few machines have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from compute_bench import runtime_spec
from runtime_bench import Runtime

from knarr.compute.spec import IntelRdt


def test_programs_are_in_their_group(runtime: Runtime, tmp_path: Path) -> None:
    group = tmp_path / "groups/gold"
    group.mkdir(parents=True)
    for name in ("tasks", "schemata"):
        (group / name).touch()
    spec = runtime_spec("sleep", "60")
    spec.linux.intel_rdt = IntelRdt("gold", ["L3:0=f"])
    runtime.configure(spec)
    program = (
        "import sys; from knarr.runtime import resctrl; from knarr.runtime.main import serve;"
        f"resctrl.find = lambda: {str(group.parent)!r}; sys.exit(serve(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "--root", str(runtime.directory / "root")]
    settings: dict[str, Any] = {"cwd": runtime.bundle, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, "run", "--detach", runtime.id], **settings, check=True)
    main = json.loads(runtime.ok("state", runtime.id))["pid"]
    assert ((group / "tasks").read_text(), (group / "schemata").read_text()) == (str(main), "L3:0=f\n")
    with subprocess.Popen([*command, "exec", runtime.id, "true"], **settings) as added:
        assert added.wait(30) == 0
    assert (group / "tasks").read_text().startswith(str(added.pid))
    runtime.ok("delete", "--force", runtime.id)
    assert group.is_dir()
