"""Run the conformance suites that `prepare` has built, with any OCI runtime, and compare the results. See README.md."""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_SECONDS = 300  # for a file of tests or a program
_BATS_RESULT = re.compile(r"^(not )?ok \d+ (.*?)( # skip.*)?$", re.MULTILINE)
_TAP_RESULT = re.compile(r"^(not )?ok \d+(?! # TODO)", re.MULTILINE)


class Suite:
    """A suite in the directory `home`: files or programs, each of which leaves a log per runtime."""

    name: str

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sources = home / "go/src/github.com/opencontainers"

    def cases(self) -> list[str]:
        """What can be run one by one."""
        raise NotImplementedError

    def run(self, case: str, runtime: str) -> str:
        """Its log."""
        raise NotImplementedError

    def results(self, case: str, log: str) -> dict[str, str]:
        """By test: passed, skipped or failed."""
        raise NotImplementedError

    def logs(self, runtime: str) -> Path:
        """Where the logs of a runtime are."""
        return self.home / "results" / self.name / Path(runtime).name


class Bats(Suite):
    """runc's own tests, which want a terminal."""

    name = "bats"

    def cases(self) -> list[str]:
        return sorted(path.stem for path in (self.sources / "runc/tests/integration").glob("*.bats"))

    def run(self, case: str, runtime: str) -> str:
        path = self.sources / f"runc/tests/integration/{case}.bats"
        command = ["timeout", "--foreground", str(_SECONDS), "bats", "--tap", str(path)]
        _remove_cgroups()
        return _on_terminal(command, {**os.environ, "RUNC": runtime})

    def results(self, case: str, log: str) -> dict[str, str]:
        found = {
            f"{case}: {match[2]}": "failed" if match[1] else "skipped" if match[3] else "passed"
            for match in _BATS_RESULT.finditer(log)
        }
        plan = re.search(r"^1\.\.(\d+)$", log, re.MULTILINE)
        if plan is None or int(plan[1]) > len(found):
            found[f"{case}: to the end"] = "failed"
        return found


class Validation(Suite):
    """The validation programs of OCI runtime-tools: a test is a program."""

    name = "validation"

    def cases(self) -> list[str]:
        return sorted(path.parent.name for path in (self.sources / "runtime-tools/validation").glob("*/*.t"))

    def run(self, case: str, runtime: str) -> str:
        """With a root directory of our own, in which nothing stays, and mounts of our own: runc leaves some behind."""
        root = self.home / "state"
        shutil.rmtree(root, ignore_errors=True)
        wrapper = self.home / "runtime"
        wrapper.write_text(f'#!/bin/sh\nexec {runtime} --root {root} "$@"\n')
        wrapper.chmod(0o755)
        program = ["unshare", "--mount", "timeout", str(_SECONDS), f"validation/{case}/{case}.t"]
        environment = {**os.environ, "RUNTIME": str(wrapper)}
        done = subprocess.run(
            program,
            cwd=self.sources / "runtime-tools",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for id in subprocess.run([wrapper, "list", "-q"], capture_output=True, text=True).stdout.split():
            subprocess.run([wrapper, "delete", "--force", id], capture_output=True)
        return f"{done.stdout}\nstatus {done.returncode}\n"

    def results(self, case: str, log: str) -> dict[str, str]:
        """One without any result has failed if it has something to say (poststop_fail)."""
        tests = _TAP_RESULT.findall(log)
        good = log.endswith("\nstatus 0\n") and not any(tests) and (tests or '"error"' not in log)
        return {case: "passed" if good else "failed"}


def _remove_cgroups() -> None:
    """Those that tests have left: their real-time budgets would be missing for the next."""
    for top in Path("/sys/fs/cgroup").glob("*/runc-cgroups-integration-test"):
        for directory, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # somebody is in it
                os.rmdir(directory)


def _on_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What a command writes until it ends, as others that it has left may hold the terminal open."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    ended = os.pidfd_open(pid)
    pieces = []
    while terminal in (ready := select.select([terminal, ended], [], [])[0]) or ended not in ready:
        try:
            pieces.append(os.read(terminal, 1 << 16))
        except OSError:  # EIO: the last one has closed it
            break
    os.close(terminal)
    os.waitpid(pid, 0)
    os.close(ended)
    return b"".join(pieces).decode(errors="replace").replace("\r\n", "\n")


def _run(suite: Suite, runtime: str, chosen: list[str]) -> None:
    logs = suite.logs(runtime)
    logs.mkdir(parents=True, exist_ok=True)
    for case in chosen or suite.cases():
        log = suite.run(case, runtime)
        (logs / case).write_text(log)
        results = list(suite.results(case, log).values())
        print(f"{case}: " + ", ".join(f"{results.count(word)} {word}" for word in sorted({*results})), flush=True)


def _compare(suite: Suite) -> None:
    """What differs, test by test, and how many have passed."""
    runtimes = sorted(path.name for path in (suite.home / "results" / suite.name).iterdir())
    table: dict[str, dict[str, str]] = {}
    for runtime in runtimes:
        for log in sorted(suite.logs(runtime).iterdir()):
            for test, result in suite.results(log.name, log.read_text()).items():
                table.setdefault(test, {})[runtime] = result
    for test, by_runtime in table.items():
        if len({by_runtime.get(runtime, "-") for runtime in runtimes}) > 1:
            print("  ".join(f"{by_runtime.get(runtime, '-'):8}" for runtime in runtimes), test)
    for runtime in runtimes:
        results = [row.get(runtime, "-") for row in table.values()]
        print(f"{runtime}: " + ", ".join(f"{results.count(word)} {word}" for word in sorted({*results})))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="the directory that was prepared")
    parser.add_argument("suite", choices=("bats", "validation"))
    parser.add_argument("runtime", nargs="?", help="a runtime's program; without it what there is is compared")
    parser.add_argument("cases", nargs="*", help="some files or programs instead of all")
    options = parser.parse_args()
    suite = {"bats": Bats, "validation": Validation}[options.suite](options.home.resolve())
    if not options.runtime:
        _compare(suite)
        return
    runtime = shutil.which(options.runtime)
    if runtime is None:
        sys.exit(f"{options.runtime}: not found")
    _run(suite, os.path.abspath(runtime), options.cases)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
