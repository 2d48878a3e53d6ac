"""The bytes of answers."""

from __future__ import annotations

import h11

from knarr.api import writing


def parse(data: bytes) -> list[object]:
    """As an independent client reads an answer to GET."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    events: list[object] = []
    while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        events.append(event)
    return events


def test_head_with_a_length() -> None:
    response, data, end = parse(writing.head(200, [("X-Own", "1")], length=2) + b"OK")
    assert isinstance(response, h11.Response)
    assert (b"x-own", b"1") in list(response.headers)
    assert {b"api-version", b"ostype", b"server", b"date"} <= {name for name, _ in response.headers}
    assert isinstance(data, h11.Data)
    assert data.data == b"OK"
    assert isinstance(end, h11.EndOfMessage)


def test_chunks() -> None:
    events = parse(writing.head(200, [], chunked=True) + writing.chunk(b"a" * 300) + writing.LAST_CHUNK)
    assert [event.data for event in events if isinstance(event, h11.Data)] == [b"a" * 300]
    assert isinstance(events[-1], h11.EndOfMessage)


def test_no_body_at_all() -> None:
    response, end = parse(writing.head(204, []))
    assert isinstance(response, h11.Response)
    assert response.reason == b"No Content"
    assert isinstance(end, h11.EndOfMessage)
