"""The shell's patterns (`*`, `?`, a backslash keeps one character) as `${NAME#pattern}` and its kin use them.

By sets of positions and not by regular expressions, so that no pattern takes long.
"""

from __future__ import annotations

_Token = str | None
"""One character, "" for any one; None for any number."""


def without_prefix(text: str, pattern: str, *, longest: bool) -> str:
    """`text` without its shortest, or longest, beginning that fits."""
    ends = _ends(text, _tokens(pattern), 0)
    return text[(max if longest else min)(ends) :] if ends else text


def without_suffix(text: str, pattern: str, *, longest: bool) -> str:
    """`text` without its shortest, or longest, end that fits."""
    ends = _ends(text[::-1], _tokens(pattern)[::-1], 0)
    return text[: len(text) - (max if longest else min)(ends)] if ends else text


def replaced(text: str, pattern: str, by: str, *, every: bool) -> str:
    """`text` with the first part, or every one, that fits `pattern` (each as long as may be) replaced."""
    tokens = _tokens(pattern)
    result: list[str] = []
    position = 0
    while position < len(text):
        end = max(_ends(text, tokens, position), default=position)
        if end == position:
            result.append(text[position])
            position += 1
            continue
        result.append(by)
        position = end
        if not every:
            break
    return "".join(result) + text[position:]


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    characters = iter(pattern)
    for character in characters:
        match character:
            case "*":
                tokens.append(None)
            case "?":
                tokens.append("")
            case "\\":
                tokens.append(next(characters, "\\"))
            case _:
                tokens.append(character)
    return tokens


def _ends(text: str, tokens: list[_Token], start: int) -> set[int]:
    """Where a match that begins at `start` can end."""
    positions = {start}
    for token in tokens:
        if not positions:
            break
        if token is None:
            positions = set(range(min(positions), len(text) + 1))
        else:
            positions = {at + 1 for at in positions if at < len(text) and token in ("", text[at])}
    return positions
