"""Documents of programs in Go, which write null for what is empty, and read it so."""

from __future__ import annotations

import json

from knarr.errors import InvalidParameter
from knarr.light import MsgspecError, decode_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Type = TypeVar("_Type")


def decode(data: bytes, type: type[_Type], name: str) -> _Type:
    """A document in which null is as good as nothing. Raises InvalidParameter, with the document's name."""
    try:
        return decode_json(json.dumps(_without_nulls(json.loads(data))).encode(), type=type)
    except (ValueError, MsgspecError) as error:
        raise InvalidParameter(f"{name}: {error}") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value
