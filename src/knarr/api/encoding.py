"""Errors as HTTP statuses and bodies. The only place that knows which kind of error is which status."""

from __future__ import annotations

import logging
from http import HTTPStatus

from knarr import errors
from knarr.api.body import TooLarge
from knarr.api.messages import Response, json_answer

_log = logging.getLogger(__name__)

_STATUSES: dict[type[errors.KnarrError], HTTPStatus] = {
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidParameter: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.NotModified: HTTPStatus.NOT_MODIFIED,
    errors.Unsupported: HTTPStatus.BAD_REQUEST,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: Exception) -> HTTPStatus:
    """The status for an error: that of its nearest class in the table, else 500."""
    for kind in type(error).__mro__:
        status = _STATUSES.get(kind)
        if status is not None:
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def error_answer(error: Exception) -> Response:
    """The answer for what a handler raised. What is no KnarrError is a defect of ours and is logged in full."""
    if not isinstance(error, errors.KnarrError):
        _log.error("request failed", exc_info=error)
    status = status_of(error)
    if status == HTTPStatus.NOT_MODIFIED:
        return Response(status)
    return json_answer({"message": str(error) or type(error).__name__}, status)
