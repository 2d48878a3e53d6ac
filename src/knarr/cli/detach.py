"""The keys that leave an attached terminal without ending what runs in it, by default ctrl-p ctrl-q."""

from __future__ import annotations

DEFAULT_KEYS = "ctrl-p,ctrl-q"

_CONTROL = {f"ctrl-{chr(letter)}": letter - 96 for letter in range(ord("a"), ord("z") + 1)} | {
    "ctrl-@": 0,
    "ctrl-[": 27,
    "ctrl-\\": 28,
    "ctrl-]": 29,
    "ctrl-^": 30,
    "ctrl-_": 31,
}


def parse_keys(text: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q`: characters, or ctrl- with a letter or one of @ [ \\ ] ^ _. Raises ValueError."""
    codes = []
    for key in text.split(","):
        if key in _CONTROL:
            codes.append(_CONTROL[key])
        elif len(key) == 1 and ord(key) < 128:
            codes.append(ord(key))
        else:
            raise ValueError(f"Unknown character: '{key}'")
    return bytes(codes)


class KeyScanner:
    """Looks for the keys in what is typed. The beginning of a possible match is held back until it is decided."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what goes to the program, whether the keys were typed)."""
        passed = bytearray()
        for byte in data:
            self._held += bytes([byte])
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._keys:
                self._held = b""
                return bytes(passed), True
        return bytes(passed), False

    def end(self) -> bytes:
        """What was held back, when nothing more is typed."""
        held, self._held = self._held, b""
        return held
