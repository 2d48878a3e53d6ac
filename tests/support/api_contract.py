"""The Engine API's specification as a judge of real answers: documented status and type, content as its schema says.

The specification (Swagger 2.0) is not part of this repository; docker publishes one for each version of the API.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jsonschema
import yaml

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z")
_METHODS = ("get", "head", "post", "put", "delete")
_WANTED = {("$.ExitCode", None)}
"""Not as specified, but as all clients want it: an exec that has not ended has no exit code."""


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Answer(NamedTuple):
    """What came back; `documents` are the JSON documents of the body, several when they are streamed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def documents(self) -> list[Any]:
        decoder, text, found, at = json.JSONDecoder(), self.body.decode(), [], 0
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            document, at = decoder.raw_decode(text, at)
            found.append(document)
        return found


class Contract:
    """The operations of a specification."""

    def __init__(self, path: Path) -> None:
        self._document = _with_nulls(yaml.safe_load(path.read_text()))
        self._operations = {
            Operation(method.upper(), pattern): operation
            for pattern, methods in self._document["paths"].items()
            for method, operation in methods.items()
            if method in _METHODS
        }

    @property
    def operations(self) -> set[Operation]:
        return set(self._operations)

    def find(self, method: str, target: str) -> Operation | None:
        """The operation that a request is one of; the one with the fewest variables if several match."""
        path = urlsplit(target).path
        fitting = [each for each in self._operations if each.method == method and _matches(each.path, path)]
        return min(fitting, key=lambda each: each.path.count("{"), default=None)

    def faults(self, operation: Operation, answer: Answer) -> list[str]:
        """What is wrong with an answer; nothing if it is as specified."""
        described = self._operations[operation]
        response = described["responses"].get(answer.status)
        if response is None and 400 <= answer.status < 500:
            response = {}  # any request may be wrong, though only some operations say so
        if response is None:
            return [f"status {answer.status} is not documented: {answer.body[:200]!r}"]
        schema = response.get("schema")
        if answer.status >= 400:
            schema = {"$ref": "#/definitions/ErrorResponse"}
        if operation.method == "HEAD" or schema is None or schema.get("type") == "string":
            return self._headers(response, answer)
        if "json" not in answer.headers.get("content-type", ""):
            return [f"not JSON but {answer.headers.get('content-type')}: {answer.body[:100]!r}"]

        return [fault for document in answer.documents for fault in self._judge(document, schema)]

    def _headers(self, response: Any, answer: Answer) -> list[str]:
        wanted = response.get("headers", {})
        return [f"no header {name}" for name in wanted if name.lower() not in answer.headers]

    def _judge(self, document: Any, schema: Any) -> list[str]:
        checker = jsonschema.FormatChecker(())
        for name in ("dateTime", "date-time"):
            checker.checks(name, ValueError)(_is_date)
        validator = jsonschema.Draft4Validator(
            {**schema, "definitions": self._document["definitions"]}, format_checker=checker
        )
        return [
            f"{error.json_path}: {error.message[:300]}"
            for error in validator.iter_errors(document)
            if (error.json_path, error.instance) not in _WANTED
        ]


def ask(
    path: Path,
    method: str,
    target: str,
    body: bytes | None = None,
    type: str = "application/json",
    *,
    head_only: bool = False,
) -> Answer:
    """One request on a unix socket, and all of its answer; no content of a success with `head_only`."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, body, {"Content-Type": type} if body is not None else {})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        content = b"" if head_only and response.status < 400 else response.read()
        return Answer(response.status, headers, content)
    finally:
        connection.close()


def _matches(pattern: str, path: str) -> bool:
    expression = re.sub(r"\\\{\w+\\\}", lambda match: "[^/]+" if "name" not in match[0] else ".+", re.escape(pattern))
    return re.fullmatch(expression, path) is not None


def _with_nulls(node: Any) -> Any:
    """A specification in which `x-nullable` is said in JSON Schema's own words. Examples are left out."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _with_nulls(value) for key, value in node.items() if key not in ("example", "examples")}
    return {"anyOf": [{"type": "null"}, plain]} if node.get("x-nullable") is True else plain


def _is_date(text: object) -> bool:
    if not isinstance(text, str) or text == "":
        return True
    if not _DATE.match(text):
        return False
    datetime.fromisoformat(re.sub(r"\.\d+", "", text))
    return True
