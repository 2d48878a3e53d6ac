"""What a build's command writes, as the API's messages: text, standard error in red."""

from __future__ import annotations

import codecs

from knarr.build.interface import Report

_STDERR = 2


class Output:
    """To be closed, which sends what may have been left of a character cut in two."""

    def __init__(self, report: Report) -> None:
        self._report = report
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {1: decoder("replace"), _STDERR: decoder("replace")}

    def write(self, stream: int, data: bytes) -> None:
        """Take what came from a stream."""
        self._send(stream, self._decoders[stream].decode(data))

    def _send(self, stream: int, text: str) -> None:
        if text:
            self._report({"stream": f"\x1b[91m{text}\x1b[0m" if stream == _STDERR else text})

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        for stream, decoder in self._decoders.items():
            self._send(stream, decoder.decode(b"", final=True))
