"""What an engine's answers, or their absence, raise in the client.

EngineError (KnarrError)      an answer with a status of 400 or more; .status, str() is the engine's message
├── InvalidParameter 400      and so on: each is also the class of that name in knarr.errors
ConnectionFailed (KnarrError) nobody answers there, or the connection broke
"""

from __future__ import annotations

import json

from knarr import errors


class EngineError(errors.KnarrError):
    """The engine's answer is an error. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class InvalidParameter(EngineError, errors.InvalidParameter):
    """400"""


class Unauthorized(EngineError, errors.Unauthorized):
    """401"""


class Forbidden(EngineError, errors.Forbidden):
    """403"""


class NotFound(EngineError, errors.NotFound):
    """404"""


class Conflict(EngineError, errors.Conflict):
    """409"""


class Unsupported(EngineError, errors.Unsupported):
    """501"""


class Unavailable(EngineError, errors.Unavailable):
    """503"""


class ConnectionFailed(errors.KnarrError):
    """There is no engine at the address, or it went away before its answer was complete."""


_BY_STATUS: dict[int, type[EngineError]] = {
    400: InvalidParameter,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    501: Unsupported,
    503: Unavailable,
}


def from_response(status: int, body: bytes) -> EngineError:
    """The error that an answer tells: `{"message": …}`, or else plain text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        text = json.loads(text)["message"].strip()
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return _BY_STATUS.get(status, EngineError)(text or f"request returned status {status}", status)
