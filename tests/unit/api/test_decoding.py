"""JSON bodies and numbers, as Go takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from knarr.api import decoding
from knarr.engine.config import CreateBody
from knarr.errors import InvalidParameter


class Inner(Struct, rename="pascal"):
    count: int = 0
    words: list[str] | None = None


class Outer(Struct, rename="pascal"):
    name: str = ""
    flag: bool = False
    inner: Inner | None = None
    many: list[Inner] | None = None
    by_key: dict[str, Inner | None] | None = None


def decode(text: str) -> Outer:
    return decoding.decode(text.encode(), Outer)


def test_keys_match_in_any_case() -> None:
    assert decode('{"NAME":"a","inner":{"cOUNT":2},"many":[{"count":3}],"bykey":{"K":{"count":4}}}') == Outer(
        "a", inner=Inner(2), many=[Inner(3)], by_key={"K": Inner(4)}
    )


def test_null_is_absent() -> None:
    assert decode('{"Name":null,"Flag":null,"Inner":{"Count":null},"Many":null}') == Outer(inner=Inner())


def test_null_document_is_empty() -> None:
    assert decode("null") == Outer()


def test_null_in_a_list_is_a_zero_value() -> None:
    assert decode('{"Inner":{"Words":["a",null]},"Many":[null]}') == Outer(inner=Inner(words=["a", ""]), many=[Inner()])


def test_null_stays_where_a_map_may_hold_it() -> None:
    assert decode('{"ByKey":{"a":null}}').by_key == {"a": None}


def test_unknown_keys_are_ignored() -> None:
    assert decode('{"Nothing":{"Of":["ours"]},"Name":"a"}') == Outer("a")


def test_keys_of_maps_keep_their_case() -> None:
    body = decoding.decode(b'{"labels":{"Key":"V","key":"v"}}', CreateBody)
    assert body.labels == {"Key": "V", "key": "v"}


@pytest.mark.parametrize("command", ['"ls"', '["ls"]'])
def test_a_word_for_a_list_of_words(command: str) -> None:
    body = decoding.decode(f'{{"cmd":{command}}}'.encode(), CreateBody)
    assert body.cmd == ["ls"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got EOF"),
        ("  ", "got EOF"),
        ("{", "unexpected EOF"),
        ("hello", "invalid character 'h' looking for beginning of value"),
        ('{"Name":"a",}', "invalid character '}' looking for beginning of object key string"),
        ('{"Name" 1}', "invalid character '1' after object key"),
        ('{"Name":1 2}', "invalid character '2' after object key:value pair"),
        ('{"Name":"a"}{"Name":"b"}', "unexpected content after JSON"),
        ('{"Name":"a"} x', "unexpected content after JSON"),
        ("[]", "cannot unmarshal array into Go value"),
        ('{"Name":5}', "cannot unmarshal number into Go struct field Outer.Name of type string"),
        ('{"name":true}', "cannot unmarshal bool into Go struct field Outer.Name of type string"),
        ('{"Flag":"yes"}', "cannot unmarshal string into Go struct field Outer.Flag of type bool"),
        ('{"Inner":[]}', "cannot unmarshal array into Go struct field Outer.Inner"),
        ('{"Inner":{"Count":"1"}}', "cannot unmarshal string into Go struct field Outer.Inner.Count of type int64"),
        ('{"Inner":{"Count":1.5}}', "cannot unmarshal number into Go struct field Outer.Inner.Count"),
        ('{"Inner":{"Words":{"a":"b"}}}', "cannot unmarshal object into Go struct field Outer.Inner.Words of type []"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=r".*") as caught:
        decode(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("memory", ["99999999999999999999", "1e400", "9223372036854775808", "-9223372036854775809"])
def test_numbers_that_fit_nowhere_are_refused(memory: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid JSON"):
        decoding.decode(f'{{"HostConfig":{{"Memory":{memory}}}}}'.encode(), CreateBody)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        decoding.decode(b'{"Name":"\xff"}', Outer)


@pytest.mark.parametrize("text", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_content_types(text: str) -> None:
    decoding.check_content_type(text)


@pytest.mark.parametrize("text", ["", "text/plain", "application/x-tar"])
def test_other_content_types_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="must be 'application/json'"):
        decoding.check_content_type(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-1", -1), ("+5", 5), ("9223372036854775807", 2**63 - 1)])
def test_integers(text: str, value: int) -> None:
    assert decoding.integer(text) == value


@pytest.mark.parametrize("text", ["", "abc", "1.5", "0x10", " 1", "1_000", "٣", "9223372036854775808", "9" * 5000])
def test_what_is_no_integer(text: Any) -> None:
    with pytest.raises(InvalidParameter, match="strconv"):
        decoding.integer(text)


def test_no_string_has_a_nul() -> None:
    with pytest.raises(InvalidParameter, match="NUL character"):
        decoding.decode(b'{"Labels":{"a":"b\\u0000"}}', CreateBody)
    with pytest.raises(InvalidParameter, match="NUL character"):
        decoding.decode(b'{"Labels":{"a\\u0000":"b"}}', CreateBody)
    assert decoding.decode(b'{"Labels":{"a":"\\\\u0000"}}', CreateBody).labels == {"a": "\\u0000"}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(["Image", "cmd", "ENV", "HostConfig", "Labels", "Memory", "PortBindings", "Ulimits", "Mounts"])
_BODIES = st.dictionaries(_NAMES, _VALUES | st.dictionaries(_NAMES, _VALUES, max_size=4), max_size=4)


@settings(max_examples=300, deadline=None)
@given(_BODIES)
def test_any_json_is_a_body_or_refused(body: dict[str, Any]) -> None:
    try:
        decoding.decode(json.dumps(body).encode(), CreateBody)
    except InvalidParameter:
        pass
