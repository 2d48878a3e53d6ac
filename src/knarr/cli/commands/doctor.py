"""knarr doctor"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.cli.formatting import FORMAT_HELP, show_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from knarr.doctor.finding import Finding

_FLAGS = (
    text("data-root", "Where the engine keeps its data (default: where it does so by default)"),
    text("format", FORMAT_HELP),
    switch("rootless", "For an engine of the user's own; under sudo, of the user who called it"),
    text("u user", "For an engine of that user's: root's, or a rootless one (default: whoever asks)"),
)
_TABLE = "{{.Group}}\t{{.Name}}\t{{.State}}\t{{.Detail}}\t{{.Effect}}\t{{.Remedy}}"
_HEADINGS = {
    "Group": "GROUP",
    "Name": "CHECK",
    "State": "STATE",
    "Needed": "NEEDED",
    "Detail": "FOUND",
    "Effect": "WHAT IT MEANS",
    "Remedy": "HOW TO MEND IT",
}
_MARGIN = " " * 15


def _run(invocation: Invocation) -> int:
    from knarr.doctor import examination, subject

    options = invocation.options
    patient = subject.choose(
        invocation.session.environ,
        options.text("user"),
        rootless=options.on("rootless"),
        data_root=options.text("data-root"),
    )
    layout = options.text("format")
    if not layout:
        kind = f"a rootless engine of user {patient.name}" if patient.rootless else "an engine of root's"
        print(f"This host, for {kind}:", flush=True)  # children are forked: nothing may wait in the buffer
    groups = []
    for title, findings in examination.examine(patient):
        groups.append((title, findings))
        if not layout:
            print(f"\n{title}", *map(line, findings), sep="\n", flush=True)
    if layout:
        show_list(
            [_row(title, finding) for title, findings in groups for finding in findings], _HEADINGS, _TABLE, layout
        )
    return conclude([finding for _, findings in groups for finding in findings], quiet=bool(layout))


def line(finding: Finding) -> str:
    seen = ": ".join(part for part in (finding.name, finding.detail) if part)
    lines = [f"  {finding.state:<13}{seen}"]
    if finding.effect:
        lines.append(f"{_MARGIN}{finding.effect}")
    if finding.remedy:
        lines.append(f"{_MARGIN}→ {finding.remedy}")
    return "\n".join(lines)


def _row(title: str, finding: Finding) -> dict[str, object]:
    return {
        "Group": title,
        "Name": finding.name,
        "State": finding.state,
        "Needed": finding.needed,
        "Detail": finding.detail,
        "Effect": finding.effect,
        "Remedy": finding.remedy,
    }


def conclude(findings: Sequence[Finding], *, quiet: bool) -> int:
    """Status 1 if an engine cannot run here."""
    lost = [finding.name for finding in findings if finding.state == "missing"]
    needed = [finding.name for finding in findings if finding.state == "missing" and finding.needed]
    if needed:
        sys.stdout.flush()
        raise CommandError(f"\nAn engine cannot run here without: {', '.join(needed)}")
    if not quiet:
        unclear = any(finding.state == "cannot tell" for finding in findings)
        words = "As far as can be told, an" if unclear else "An"
        rest = f", but for what is missing above ({len(lost)})" if lost else ""
        print(f"\n{words} engine can run here{rest}.")
    return 0


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[
        ("For a rootless engine of one's own", "doctor --rootless"),
        (
            "What is missing, and the remedies",
            "doctor --format '{{if eq .State \"missing\"}}{{.Name}}: {{.Remedy}}{{end}}'",
        ),
    ],
)
