"""The one word that carries an invitation from the administrator to the host."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tambourinefs.cli.common.invitation import MAX_TOKEN, Invitation
from tambourinefs.errors import InvalidInput

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
GOOD = Invitation("https://10.0.0.1:6443", CA, "eyJhbGciOi.x.y", "h1")


def word(**fields: object) -> str:
    whole = {"server": GOOD.server, "ca": GOOD.ca, "token": GOOD.token, "node": GOOD.node} | fields
    return urlsafe_b64encode(json.dumps(whole).encode()).decode()


def test_it_arrives_as_it_was_sent() -> None:
    assert Invitation.decode(GOOD.encode()) == GOOD
    assert Invitation.decode(word()) == GOOD  # with the = that some tools append
    assert set(GOOD.encode()) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a join token"),
        ("e30", "not a join token"),
        ("W10", "not a join token"),
        ("bnVsbA", "not a join token"),
        (GOOD.encode()[:-9], "not a join token"),
        (GOOD.encode() + "\n" + GOOD.encode(), "not a join token"),
        ("é" * 40, "not a join token"),
        ("W1tb" * 10_000, "not a join token"),
        ("A" * (MAX_TOKEN + 1), "too long"),
        (word(more="x"), "not a join token"),
        (word(server="http://10.0.0.1:6443"), "not an https"),
        (word(server="https://10.0.0.1:6443/?x"), "not a valid address"),
        (word(server="https://a b:6443"), "not a valid address"),
        (word(server="https://"), "not a valid address"),
        (word(ca=""), "certificate authority is missing"),
        (word(ca=None), "certificate authority is missing"),
        (word(token="a\r\nX-Header: b"), "not a join token"),
        (word(token=""), "not a join token"),
        (word(node=""), "join token: node: "),
        (word(node="H1"), "join token: node: "),
        (word(node='a"\n[agent]'), "join token: node: "),
        (word(node="../h1"), "join token: node: "),
        (word(node=["h1"]), "join token: node: "),
    ],
)
def test_what_is_none_is_refused_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        Invitation.decode(text)
    assert caught.value.hint is not None
    assert "whole command" in caught.value.hint


@settings(deadline=None)
@given(st.text(max_size=400) | st.binary(max_size=300).map(lambda b: urlsafe_b64encode(b).decode()))
def test_any_text_is_refused_as_wrong_input(text: str) -> None:
    with pytest.raises(InvalidInput):
        Invitation.decode(text)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    )
)  # fmt: skip
def test_any_json_is_refused_as_wrong_input(value: object) -> None:
    with pytest.raises(InvalidInput):
        Invitation.decode(urlsafe_b64encode(json.dumps(value).encode()).decode())
