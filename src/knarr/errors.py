"""What can go wrong, by kind. Raised anywhere, turned into HTTP statuses at the API's edge and nowhere else.

    KnarrError                 500  the engine or the kernel failed
    ├── InvalidParameter       400  the request makes no sense
    ├── Unauthorized           401
    ├── Forbidden              403  understood and not allowed
    ├── NotFound               404
    ├── Conflict               409  not in this state
    ├── NotModified            304  already so
    ├── Unsupported            400  what this engine or this host does not have
    ├── Unavailable            503
    └── CommandFailed               a command of a build; seen in its stream only

The text is what the user reads: dockerd's words where dockerd has words.
"""

from __future__ import annotations


class KnarrError(Exception):
    """A failure with a text for the user."""


class InvalidParameter(KnarrError):
    """The request makes no sense: a wrong name, type, range or combination."""


class Unauthorized(KnarrError):
    """Credentials are missing or wrong."""


class Forbidden(KnarrError):
    """Understood, and not allowed."""


class NotFound(KnarrError):
    """There is no such object."""


class Conflict(KnarrError):
    """Not possible in the state that the object is in."""


class NotModified(KnarrError):
    """The object already is as asked."""


class Unsupported(KnarrError):
    """This engine, or this host, does not have what was asked for."""


class Unavailable(KnarrError):
    """Not now, or not in this mode."""


class CommandFailed(KnarrError):
    """A command of a build has ended with an exit code other than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
