#!/usr/bin/env python3
"""How fast knarr-runtime is, from a cold start, next to other OCI runtimes.

    sudo .venv/bin/python bench/runtime.py [--runs N] [RUNTIME …]      (default: runc crun)

`run` of /bin/true in a static busybox, and the steps create, state, exec, start and delete of one container. The bundle
is the same for all (their own `spec`, runc's if it is there), they take turns, and medians are shown. Where cgroup v1
and v2 are both mounted, as on older distributions, everything happens without the v2 one: crun wants one or the other.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
import busybox

from knarr.kernel import cgroups, mounts, namespaces

OWN = str(Path(sys.executable).with_name("knarr-runtime"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("runtimes", nargs="*", default=["runc", "crun"])
    options = parser.parse_args()
    runtimes = [OWN, *(name for name in options.runtimes if shutil.which(name))]
    without_both_hierarchies()
    with tempfile.TemporaryDirectory() as bundle:
        make_bundle(Path(bundle))
        taken: dict[str, dict[str, list[float]]] = {name: {} for name in runtimes}
        for number in range(options.runs + 1):
            for name in runtimes:
                for step, milliseconds in measure(name, bundle).items():
                    if number:  # the first is to warm caches
                        taken[name].setdefault(step, []).append(milliseconds)
    show(taken)


def without_both_hierarchies() -> None:
    """Leave the v2 hierarchy of a hybrid host out of sight, in a mount namespace of our own."""
    found = cgroups.detect()
    if found.mode == "hybrid" and found.unified is not None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.umount(found.unified)


def make_bundle(bundle: Path) -> None:
    """A busybox with runc's usual configuration."""
    with tarfile.open(fileobj=io.BytesIO(busybox.archive())) as tar:
        tar.extractall(bundle / "rootfs", filter="fully_trusted")
    subprocess.run([shutil.which("runc") or OWN, "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["/bin/true"]}
    (bundle / "config.json").write_text(json.dumps(spec))


def measure(runtime: str, bundle: str) -> dict[str, float]:
    """Milliseconds of each step."""
    id = f"bench-{os.getpid()}"
    steps = {
        "run": ["run", id],
        "create": ["create", id],
        "state": ["state", id],
        "exec": ["exec", id, "/bin/true"],
        "start": ["start", id],
        "delete": ["delete", "--force", id],
    }
    result = {}
    for step, words in steps.items():
        null = subprocess.DEVNULL
        since = time.perf_counter()
        subprocess.run([runtime, *words], cwd=bundle, stdin=null, stdout=null, check=True)
        result[step] = (time.perf_counter() - since) * 1e3
    return result


def show(taken: dict[str, dict[str, list[float]]]) -> None:
    """A row for each step, a column for each runtime, and how many times the others' median ours is."""
    print(f"{'ms':10}" + "".join(f"{Path(name).name:>15}" for name in taken))
    for step in taken[OWN]:
        medians = [statistics.median(steps[step]) for steps in taken.values()]
        ratios = "".join(f"{medians[0] / other:8.2f}x" for other in medians[1:])
        print(f"{step:10}" + "".join(f"{median:15.1f}" for median in medians) + ratios)


if __name__ == "__main__":
    main()
