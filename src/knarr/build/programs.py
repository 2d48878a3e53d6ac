"""What RUN executes: the words of a command, here-documents included."""

from __future__ import annotations

from knarr.dockerfile import heredocs
from knarr.dockerfile.instructions import Run
from knarr.images import changes
from knarr.images.config import ContainerDefaults

SCRIPT = "/dev/pipes/"
"""Where a here-document is that names its own interpreter."""


def arguments(instruction: Run, defaults: ContainerDefaults) -> tuple[list[str], dict[str, str]]:
    """The program with its arguments, and files that it needs by their path, with their content."""
    command, documents = instruction.command, instruction.heredocs
    if not command.shell or not documents:
        return changes.program(defaults, command), {}
    text = command.words[0]
    if len(documents) == 1 and heredocs.start(text, "\\") is not None:
        script = documents[0].text
        if script.startswith("#!"):
            path = SCRIPT + documents[0].name.replace("/", "_")
            return [path], {path: script}
        return [*(defaults.shell or changes.DEFAULT_SHELL), script], {}
    text += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in documents)
    return [*(defaults.shell or changes.DEFAULT_SHELL), text], {}
