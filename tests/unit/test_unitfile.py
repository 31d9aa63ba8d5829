"""Unit files are read as systemd reads them. (tests/functional/test_unitfile.py asks systemd itself.)"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tambourinefs.model import unitfile
from tambourinefs.model.unitfile import Setting, aliases, expand, parse, sections, stamp, words


def pairs(text: str) -> list[tuple[str, str]]:
    return [(setting.key, setting.value) for setting in parse(text).settings]


def test_settings_have_section_key_value_and_line() -> None:
    text = "[Unit]\nDescription = a  b \n\n[Service]\nExecStart=/bin/x y=z\n"
    assert parse(text).settings == (
        Setting("Unit", "Description", "a  b", 2),
        Setting("Service", "ExecStart", "/bin/x y=z", 5),
    )
    assert parse(text).sections == ("Unit", "Service")
    assert sections(text)["Service"] == (Setting("Service", "ExecStart", "/bin/x y=z", 5),)


def test_continued_lines_are_joined() -> None:
    text = "[S]\nA=1 \\\n# comment \\\n  ; another\n  2\\\n3\nB=4\n"
    assert pairs(text) == [("A", "1    2 3"), ("B", "4")]
    assert [setting.line for setting in parse(text).settings] == [2, 7]


def test_escaped_backslash_does_not_continue_a_line() -> None:
    assert pairs("[S]\nA=1\\\\\nB=2\\\\\\\nC=3\n") == [("A", "1\\\\"), ("B", "2\\\\ C=3")]


def test_a_backslash_at_the_end_of_the_text_ends_the_setting() -> None:
    assert pairs("[S]\nA=1\\") == [("A", "1")]
    assert pairs("[S]\nA=1\\\n") == [("A", "1")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\r"])
def test_all_line_endings_of_systemd(end: str) -> None:
    text = end.join(["[S]", "# comment", "A=1", "B=2 \\", "3", ""])
    assert pairs(text) == [("A", "1"), ("B", "2  3")]


def test_byte_order_mark_is_skipped() -> None:
    assert pairs("\ufeff[S]\nA=1") == [("A", "1")]


def test_ignored_lines_are_reported() -> None:
    unit = parse("A=1\n[S]\nnonsense\n=x\n")
    assert unit.ignored == ((1, "stands before the first section"), (3, "has no ="))
    assert unit.settings == (Setting("S", "", "x", 4),)


@pytest.mark.parametrize("header", ["[S", "[S]x", "[", '["S"]', "[a\\b]", "[a\tb]"])
def test_bad_section_header_is_an_error(header: str) -> None:
    assert parse(f"[U]\n{header}\nA=1\n").errors[0][0] == 2
    assert parse(f"[U]\n{header}\nA=1\n").settings == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        (" a  b\tc ", ["a", "b", "c"]),
        ('"a b" \'c d\' e"f g"h', ["a b", "c d", "ef gh"]),
        (r"a\x2fb \x41 \101 \u00e4 \s \t", ["a/b", "A", "A", "ä", " ", "\t"]),
        (r"\q \xzz \U00110000 \8", [r"\q", r"\xzz", r"\U00110000", r"\8"]),
        ("'' \"", ["", ""]),
        ("a\\", ["a\\"]),
        ("'a\\'b'", ["a'b"]),
    ],
)
def test_lists_are_split_into_words(value: str, expected: list[str]) -> None:
    assert words(value) == expected


def test_specifiers_of_the_name_are_expanded() -> None:
    unit = r"a-b@srv-x\x2dy.service"
    assert expand("%n|%N|%p|%P|%i|%I|%j|%f|%%|%t|%S|%H|%", unit) == (
        r"a-b@srv-x\x2dy.service|a-b@srv-x\x2dy|a-b|a/b|srv-x\x2dy|srv/x-y|b|/srv/x-y|%|/run|/var/lib|%H|%"
    )


def test_aliases_are_alias_and_also() -> None:
    unit = "[Install]\nAlias=lost.service\nAlias=\nAlias=a.service 'b.service' %p-c.service\nAlso=d.socket"
    drop_in = "[Install]\nAlias=e.service\n[X-Install]\nAlias=no.service"
    found = aliases([unit, drop_in], "x.service")
    assert found == {"a.service", "b.service", "x-c.service", "d.socket", "e.service"}


def test_stamp_is_the_first_section() -> None:
    text = "[Service]\nExecStart=x \\"
    stamped = stamp(text, {"UID": "1\\", "Name": "a\nb"})
    assert stamped == "[X-Tambourine]\nUID=1\nName=a\\nb\n\n" + text
    assert pairs(stamped)[-1] == ("ExecStart", "x")
    assert parse(stamped).sections[0] == unitfile.STAMP


@given(st.text(st.sampled_from(list("[]=\\\n\r \t#;\"'%xu0aA/-\ufeff\0ä")), max_size=80))
@settings(max_examples=500, deadline=None)
def test_parser_accepts_any_text(text: str) -> None:
    unit = parse(text)
    for setting in unit.settings:
        assert setting.value == setting.value.strip(" \t\n\r")
        assert all("\n" not in word or "\\n" in setting.value for word in words(setting.value))
        expand(setting.value, "a@b.service")
    aliases([text], "a.service")
