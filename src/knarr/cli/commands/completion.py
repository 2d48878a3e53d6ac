"""knarr completion"""

from __future__ import annotations

from importlib.resources import files

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError

_SHELLS = ("bash", "fish", "zsh")


def _run(invocation: Invocation) -> int:
    shell = invocation.arguments[0]
    if shell not in _SHELLS:
        raise CommandError(f"no completion for {shell}: there is one for each of {', '.join(_SHELLS)}")
    print(files("knarr.cli").joinpath("shells", f"completion.{shell}").read_text(encoding="utf-8"), end="")
    return 0


COMMAND = Command(
    "bash|fish|zsh",
    _run,
    arguments=(1, 1),
    examples=[
        ("In this bash, or in ~/.bashrc for all", "completion bash"),
        ("For all users: into bash-completion's directory", "completion bash > /etc/bash_completion.d/knarr"),
        ("Where fish looks for it", "completion fish > ~/.config/fish/completions/knarr.fish"),
        ("Where zsh looks for it", "completion zsh > /usr/local/share/zsh/site-functions/_knarr"),
    ],
)
