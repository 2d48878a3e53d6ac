"""Connections that stop being HTTP: attach and exec. The socket itself is given away, or one end of a relay to it."""

from __future__ import annotations

import socket

from knarr.api import relay, websocket, writing
from knarr.api.messages import Hijack, Request


def head(request: Request, answer: Hijack) -> bytes:
    """The answer after which the connection is a plain stream. Only a client that asked for it is sent a 101."""
    if answer.websocket:
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {websocket.accept_key(request.header('sec-websocket-key'))}")
    elif "upgrade" in request.headers:
        lines = ["HTTP/1.1 101 UPGRADED", f"Content-Type: {answer.content_type}", "Connection: Upgrade"]
        lines.append(f"Upgrade: {answer.upgrade}")
    else:
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in writing.COMMON]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def hand_over(client: socket.socket, ahead: bytes, answer: Hijack) -> None:
    """Give `client` away, whose first bytes have been read already (`ahead`). Owns it from the start."""
    try:
        if answer.websocket:
            client = await relay.behind(websocket.ClientEnd(), client, ahead)
        elif ahead:
            client = await relay.behind(relay.End(), client, ahead)
    except BaseException:
        client.close()
        raise
    await answer.take(client.detach())
