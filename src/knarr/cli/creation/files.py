"""Files that flags name: environments, labels, a seccomp profile."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def environment(files: list[str], given: list[str], environ: Mapping[str, str]) -> list[str]:
    """--env-file and -e together. A name without a value takes it from `environ`. Raises ValueError, OSError."""
    variables = [line for path in files for line in read_lines(path, environ)]
    for word in given:
        known = "=" not in word and word in environ
        variables.append(f"{word}={environ[word]}" if known else word)
    return variables


def labels(files: list[str], given: list[str]) -> dict[str, str]:
    """--label-file and -l together. Raises ValueError, OSError."""
    lines = [line for path in files for line in read_lines(path, {})] + given
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def read_lines(path: str, environ: Mapping[str, str]) -> list[str]:
    """`name=value` lines of a file; empty ones and comments are left out. Raises ValueError, OSError."""
    lines = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"invalid env file ({path}): invalid utf8 bytes at position {error.start}") from None
    for line in (line.lstrip(" \t\v\f\r") for line in text.split("\n")):
        if not line or line.startswith("#"):
            continue
        line = line.removesuffix("\r")
        name, separator, _ = line.partition("=")
        if not name:
            raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(character.isspace() for character in name):
            raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if separator:
            lines.append(line)
        elif name in environ:
            lines.append(f"{name}={environ[name]}")
    return lines


def security_options(given: list[str]) -> tuple[list[str], bool]:
    """(--security-opt with a seccomp profile's text in place of its name, whether system paths are unconfined).

    Raises ValueError.
    """
    options, unconfined_paths = [], False
    for word in given:
        key, separator, value = word.partition("=")
        if not separator:
            key, separator, value = word.partition(":")
        if not separator and key not in ("no-new-privileges", "writable-cgroups"):
            raise ValueError(f'Invalid --security-opt: "{word}"')
        if key == "systempaths" and value == "unconfined":
            unconfined_paths = True
        elif key == "seccomp" and value not in ("unconfined", "builtin"):
            options.append(f"seccomp={_read_profile(value)}")
        else:
            options.append(word)
    return options, unconfined_paths


def _read_profile(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"), ensure_ascii=False)
    except OSError as error:
        reason = f"open {path}: {(error.strerror or '').lower()}"
        raise ValueError(f"opening seccomp profile ({path}) failed: {reason}") from None
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None
