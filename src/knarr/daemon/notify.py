"""Telling the service manager how far we are: sd_notify(3)."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends VARIABLE=value lines to whoever started us and asked for them; to nobody where nobody did."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls) -> Notifier:
        """$NOTIFY_SOCKET's, which is taken away so that processes that we start do not speak for us."""
        return cls(os.environ.pop("NOTIFY_SOCKET", ""))

    def send(self, *assignments: str) -> None:
        """Send at once. A receiver that is gone is no error."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto("\n".join(assignments).encode(), self._address)
            except OSError:
                pass  # nobody is there to be told, which is no reason to stop working
