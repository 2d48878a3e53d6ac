"""knarr system dial-stdio"""

from __future__ import annotations

import os
import threading

from knarr.cli.command import Command, Invocation
from knarr.client.calls import Takeover
from knarr.client.synchronous import Channel

_PIECE = 1 << 17
_IN, _OUT = 0, 1


def _run(invocation: Invocation) -> int:
    """Until the engine hangs up; the end of our input is passed on to it."""
    channel = Channel(invocation.session.engine.address.connect(), Takeover(b"", ""))
    threading.Thread(target=_send, args=(channel,), daemon=True).start()
    while data := channel.socket.recv(_PIECE):
        while data:
            data = data[os.write(_OUT, data) :]
    return 0


def _send(channel: Channel) -> None:
    try:
        while data := os.read(_IN, _PIECE):
            channel.socket.sendall(data)
    except OSError:
        return  # the engine has hung up, which the other side sees
    channel.finish_writing()


COMMAND = Command("", _run, examples=[("What `-H ssh://` runs on the other machine", "system dial-stdio")])
