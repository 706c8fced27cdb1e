"""Whatever comes from outside is bounded, and can be encoded as Airflow encodes it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_airbyte_api.api.safe import (
    MAX_DEPTH,
    MAX_INT,
    MAX_ITEMS,
    TooManyItemsError,
    parse_json,
    safe_float,
    safe_id,
    safe_int,
    safe_json,
    safe_text,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**70)
    | st.floats()
    | st.text(st.characters(categories=None))
    | st.sampled_from(["\ud83d", "\x00", "\x1b[2J", "a\nb", "\u202e"])
    | st.binary()
    | st.datetimes()
)
KEYS = st.text(st.characters(categories=None)) | st.integers() | st.sampled_from(["__classname__", "__type", "\ud800"])
ANYTHING = st.recursive(SCALARS, lambda each: st.lists(each) | st.dictionaries(KEYS, each), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two\r\nlines", "two  lines"),
        ("\x1b[31mred\x00", " [31mred "),
        ("\x85\x9b2J\u2028", "  2J "),
        ("\u202egnp.exe", " gnp.exe"),
        ("\ud83d", "\ufffd"),
        ("\U0001f600 é", "\U0001f600 é"),
        (None, ""),
        (5, "5"),
    ],
)
def test_text_is_one_line_of_valid_utf_8(value: object, text: str) -> None:
    assert safe_text(value) == text


def test_what_has_no_text_is_named_by_its_type() -> None:
    assert safe_text(10**5000) == "<int>"


def test_text_is_cut_with_an_ellipsis() -> None:
    assert safe_text("x" * 11, 10) == "x" * 9 + "\u2026"
    assert safe_text("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 2**63, -(2**63) - 1, math.inf, [1]])
def test_what_is_no_64_bit_integer_is_absent(value: object) -> None:
    assert safe_int(value) is None


def test_an_integer_may_have_64_bits() -> None:
    assert safe_int(MAX_INT) == MAX_INT
    assert safe_int(0, 1) is None


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.9, 1.0, math.inf, "1.0", "-1", "", "x", 2**63, "9" * 5000, "\u0661", None, [1]]
)
def test_what_is_no_id_is_none(value: object) -> None:
    assert safe_id(value) is None


@pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), (" 5 ", 5), (str(MAX_INT), MAX_INT)])
def test_an_id_is_a_positive_integer_or_its_text(value: object, number: int) -> None:
    assert safe_id(value) == number


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1", None, -1])
def test_what_is_no_finite_number_within_the_limits_is_absent(value: object) -> None:
    assert safe_float(value, 0) is None
    assert safe_float(10**400) is None


def test_a_number_is_a_float() -> None:
    assert safe_float(5) == 5.0


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1e999, "b": NaN, "c": -Infinity}', {"a": None, "b": None, "c": None}),
        (b"[%d, %d]" % (2**63, 2**63 - 1), [None, 2**63 - 1]),
        (b"[" + b"9" * 5000 + b", 1]", [None, 1]),
        (rb'["\ud83d", "\u0000", "a\nb"]', ["\ufffd", "\ufffd", "a\nb"]),
        (b'{"__classname__": "x", "a": 1}', {"a": 1}),
    ],
)
def test_json_is_made_safe_as_it_is_read(body: bytes, value: object) -> None:
    assert parse_json(body) == value


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe\x00", b"[" * 100_000, b"\x80"])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)


def test_deep_json_is_cut() -> None:
    value = parse_json(b"[" * 900 + b"]" * 900)
    depth = 0
    while value:
        (value,), depth = value, depth + 1
    assert depth == MAX_DEPTH


@pytest.mark.parametrize("item", [b"{}", b"[]", b"1", b'{"a":[1]}'])
def test_json_of_too_many_items_is_refused_before_it_is_parsed(item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = sum(item.count(mark) for mark in (b"{", b"[", b",")) + 1
    count = MAX_ITEMS // marks
    assert len(parse_json(b"[" + b",".join([item] * count) + b"]")) == count
    monkeypatch.setattr(json, "loads", pytest.fail)
    for text in (b"[" + b",".join([item] * (count + 1)) + b"]", "[" + "1," * MAX_ITEMS + "1]"):
        with pytest.raises(TooManyItemsError, match=r"more than 500,000 items"):
            parse_json(text)


def test_json_for_airflow_is_cut_in_length() -> None:
    assert safe_json(["x" * 11, *range(5)], max_items=3, max_text=10) == ["x" * 9 + "\u2026", 0, 1]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(ANYTHING)
def test_anything_becomes_json_that_airflow_can_encode(value: Any) -> None:
    serde, msgspec = pytest.importorskip("airflow.sdk.serde"), pytest.importorskip("msgspec")
    safe = safe_json(value)
    assert safe_json(safe) == safe
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(safe)) == safe
    encoded = serde.serialize(safe)
    assert json.loads(json.dumps(encoded, allow_nan=False).encode()) == safe
    assert serde.deserialize(encoded) == safe


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text() | st.sampled_from(["__type", "jobId"]), each),
    ),
    st.booleans(),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_what_is_returned_without_a_copy_is_what_a_copy_would_be(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert repr(parse_json(text.encode("utf-8", "surrogatepass"))) == repr(parse_json(text))


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_the_limit_of_nesting_is_the_same_with_and_without_a_copy(depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert parse_json(text.encode()) == parse_json(text)
