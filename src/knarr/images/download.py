"""Content from the web. Imported where it is needed only: an HTTP client is large, and few engines ever use it."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from knarr.errors import KnarrError

_TIMEOUT = 60.0  # seconds without a byte


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """The content behind an http or https address; blocks. Raises KnarrError, also from the reading of it."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)  # and none for file: and ftp:, to which a redirection could lead
    try:
        with opener.open(url, timeout=_TIMEOUT) as response:
            yield cast(BinaryIO, response)
    except urllib.error.HTTPError as error:
        error.close()
        raise KnarrError(f"Got HTTP status code >= 400: {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise KnarrError(f'Get "{url}": {error.reason}') from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise KnarrError(f'Get "{url}": {error}') from error
