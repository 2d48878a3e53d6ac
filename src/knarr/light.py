"""What a cold start cannot afford to import, behind one door: records, and the enum-laden half of signal and socket.

A process that has imported `knarr.plain` before (a cold knarr-runtime, see runtime/cold.py) gets its plain classes and
the C halves of the two modules: typing, enum, re and msgspec, which take longer to import than a container takes to
start, stay out. Everybody else gets msgspec and the standard library.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
    import socket as socket
    from collections.abc import Callable
    from contextlib import ExitStack, suppress
    from functools import cache
    from typing import Any, NamedTuple, Protocol, TypeVar

    from msgspec import MsgspecError, Struct, field
    from msgspec.structs import replace

    _Type = TypeVar("_Type")
    encode_json: Callable[[Any], bytes]

    def decode_json(data: bytes, type: type[_Type]) -> _Type:
        """A document as an instance of `type`. Raises MsgspecError."""
elif "knarr.plain" in sys.modules:
    import _signal as signal
    import _socket as socket

    Protocol = object
    from knarr.plain import (
        ExitStack,
        MsgspecError,
        NamedTuple,
        Struct,
        cache,
        decode_json,
        encode_json,
        field,
        replace,
        suppress,
    )
else:
    import signal
    import socket
    from contextlib import ExitStack, suppress
    from functools import cache
    from typing import NamedTuple, Protocol

    from msgspec import MsgspecError, Struct, field
    from msgspec.json import decode as _decode
    from msgspec.json import encode as encode_json
    from msgspec.structs import replace

    def decode_json(data, type):
        return _decode(data, type=type)


__all__ = [
    "ExitStack",
    "MsgspecError",
    "NamedTuple",
    "Protocol",
    "Struct",
    "cache",
    "decode_json",
    "encode_json",
    "field",
    "replace",
    "signal",
    "socket",
    "suppress",
]
