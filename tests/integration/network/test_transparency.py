"""What a network namespace is given for sockets with others' addresses."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """\
import subprocess
from knarr.network import transparency
subprocess.check_call(["ip", "link", "set", "lo", "up"])
transparency.set_up()
before = [subprocess.check_output(["ip", version, "rule"]) for version in ("-4", "-6")]
transparency.set_up()
after = [subprocess.check_output(["ip", version, "rule"]) for version in ("-4", "-6")]
assert before == after and all(b"fwmark" in rules for rules in after), after
"""


def test_a_second_time_changes_nothing() -> None:
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
