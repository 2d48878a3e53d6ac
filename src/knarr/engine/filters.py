"""The `filters` of list calls and of events: names, each with the values that the client accepts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from knarr.errors import InvalidParameter


class Filters:
    """Parsed filters. A name that was not given accepts everything."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str | None, allowed: Collection[str]) -> Filters:
        """Read `{"name": ["value"]}` or the older `{"name": {"value": true}}`.

        Raises InvalidParameter for anything else and for a name that is not in `allowed`.
        """
        values: dict[str, list[str]] = {}
        for name, given in _decode(text).items():
            if isinstance(given, dict):
                values[name] = [value for value, wanted in given.items() if wanted]
            else:
                values[name] = given
        for name in values:
            if name not in allowed:
                raise InvalidParameter(f"invalid filter '{name}'")
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def __getitem__(self, name: str) -> list[str]:
        """The values given for `name`; none if it was not given."""
        return self._values.get(name, [])

    def exact(self, name: str, *candidates: str) -> bool:
        """Whether one of `candidates` is a value of `name`, or `name` was not given."""
        wanted = self[name]
        return not wanted or any(candidate in wanted for candidate in candidates)

    def prefix(self, name: str, *candidates: str) -> bool:
        """Whether one of `candidates` is or begins with a value of `name`, or `name` was not given."""
        wanted = self[name]
        return not wanted or any(candidate.startswith(value) for candidate in candidates for value in wanted)

    def labels(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether `labels` has all that `name` asks for, each as `key` or `key=value`."""
        return all(_has_label(labels, wanted) for wanted in self[name])

    def boolean(self, name: str) -> bool | None:
        """The value of a filter that is true or false; None if not given. Raises InvalidParameter."""
        wanted = {value.lower() for value in self[name]}
        if not wanted:
            return None
        if wanted <= {"1", "true"}:
            return True
        if wanted <= {"0", "false"}:
            return False
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(self[name])}]'")


def _decode(text: str | None) -> dict[str, list[str] | dict[str, bool]]:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]])
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid filter: {error}") from error


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, separator, value = wanted.partition("=")
    return key in labels and (not separator or labels[key] == value)
