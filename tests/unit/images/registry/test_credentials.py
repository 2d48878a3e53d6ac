"""Credentials in headers."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.images.registry import credentials
from knarr.images.registry.credentials import ANONYMOUS, Credentials


def header(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_a_user() -> None:
    found = credentials.from_header(header({"username": "joe", "password": "s3cret", "email": "x"}))
    assert found.basic == "Basic " + base64.b64encode(b"joe:s3cret").decode()


def test_padding_may_be_missing() -> None:
    assert credentials.from_header(header({"username": "jo"}).rstrip("=")).user_name == "jo"


def test_user_and_password_in_one() -> None:
    found = credentials.from_header(header({"auth": base64.b64encode(b"joe:a:b").decode()}))
    assert (found.user_name, found.password) == ("joe", "a:b")


@pytest.mark.parametrize("text", ["", "null", "!", header([1]), header({"username": 1}), header("x") + "é"])
def test_what_cannot_be_read_is_nobody(text: str) -> None:
    assert credentials.from_header(text) == ANONYMOUS


@given(st.text())
def test_anything_is_read(text: str) -> None:
    credentials.from_header(text)
    credentials.from_config_header(text)


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry.example:5000", "registry.example:5000"),
        ("https://registry.example", "registry.example"),
        ("http://registry.example/v2/", "registry.example"),
    ],
)
def test_for_a_registry(key: str, domain: str) -> None:
    found = credentials.from_config_header(header({"other": {"username": "x"}, key: {"username": "joe"}}))
    assert credentials.for_registry(found, domain) == Credentials(user_name="joe")
    assert credentials.for_registry(found, "third") == ANONYMOUS
