"""Names are those that systemd and Kubernetes take, and text is fit to print."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tambourinefs.model import names


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("alice-zfs", "alice-zfs.service"),
        ("a.socket", "a.socket"),
        ("org.cups.cupsd", "org.cups.cupsd.service"),
        ("a@b", "a@b.service"),
        ("a.device", "a.device"),
        (".mount", ".mount.service"),
        ("", ".service"),
    ],
)
def test_service_suffix_is_implied(written: str, full: str) -> None:
    assert names.with_suffix(written) == full


@pytest.mark.parametrize(
    "unit",
    [
        "a.service", "a@.service", "a@b.service", "a@b@c.service", "a@b.c.service", "-.mount", "srv-x.mount",
        "a\\x2db.mount", "a:b_c.d-e.timer", "x.target", "x.path", "x.swap", "x.automount", "a-b.slice", "A9.socket",
        "x" * 247 + ".service",
    ],
)  # fmt: skip
def test_valid_unit_names(unit: str) -> None:
    assert names.unit_problem(unit) == ""


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("a", "must end in one of .service"),
        ("a.servic", "must end in one of .service"),
        (".service", "before its suffix"),
        ("@.service", "before the @"),
        ("@b.service", "before the @"),
        ("a b.service", "letters, digits"),
        ("a/b.service", "letters, digits"),
        ("ä.service", "letters, digits"),
        ("a\nb.service", "not '\\\\n'"),
        ("a*.service", "letters, digits"),
        ("a%i.service", "letters, digits"),
        ("x" * 248 + ".service", "at most 255 bytes"),
        ("a.device", "made by udev"),
        ("a.scope", "made by programs"),
        ("-.slice", "root slice"),
        ("a--b.slice", "single dashes"),
        ("-a.slice", "single dashes"),
        ("a@b.slice", "cannot be a template"),
    ],
)
def test_invalid_unit_names(unit: str, why: str) -> None:
    assert why in names.unit_problem(unit)


def test_templates_and_instances() -> None:
    assert names.is_template("a@.service")
    assert not names.is_template("a@b.service")
    assert not names.is_template("a.service")
    assert not names.is_template("a@b@.service")
    assert names.instance("a@b.service") == "b"
    assert names.instance("a@.service") is None
    assert names.template_of("a@b@c.timer") == "a@.timer"
    assert names.template_of("a.timer") is None
    assert names.prefix("a-b@c.service") == "a-b"
    assert names.unit_type("a.b.socket") == "socket"


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_unescape_reverses_escape(text: str) -> None:
    assert names.unescape(names.escape(text)) == text
    assert names.unit_problem(f"x{names.escape(text)[:200]}.service") == ""


def test_own_units_under_every_name() -> None:
    for unit in (
        "tambourine.service", "tambourine-silo.service", "tambourine-bombshell.service", "tambourine-sync.service",
        "proc-tambourine.mount", "proc-tambourine.automount", "var-lib-tambourine-silo.mount",
        "run-tambourine-proc.mount", "run-tambourine.mount", "etc-tambourine-pki.mount",
    ):  # fmt: skip
        assert names.is_own_unit(unit), unit
    for unit in (
        "tambourine-x.service",
        "run-tambourine\\x2dx.mount",
        "srv.mount",
        "run-tambourine.service",
    ):
        assert not names.is_own_unit(unit), unit


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_valid_namespaces(name: str) -> None:
    assert names.namespace_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a.b", "a_b", "a/b", "..", "a" * 64, "a\n", "ä"]
)
def test_invalid_namespaces(name: str) -> None:
    assert names.namespace_problem(name) != ""


def test_object_names_have_dots_and_253_characters() -> None:
    assert names.object_name_problem("a.b-c.0") == ""
    assert names.object_name_problem(".".join(["a" * 62] * 4)) == ""
    for name in ("", ".", "a..b", "a.", "a/b", "..", "A", "a" * 254, "a\nb", "a.b\n"):
        assert names.object_name_problem(name) != "", name


def test_labels() -> None:
    assert names.label_problem("node-role.kubernetes.io/control-plane", "") == ""
    assert names.label_problem("disk", "ssd_2.x") == ""
    for key, value in (
        ("", ""),
        ("/x", ""),
        ("x/", ""),
        ("a b", ""),
        ("a", "x" * 64),
        ("a", "-x"),
        ("A/b/c", ""),
        ("a", "b\n"),
    ):
        assert names.label_problem(key, value) != "", (key, value)


def test_paths_of_files() -> None:
    assert names.path_problem("/etc/x y/ä.conf") == ""
    for path in (
        "",
        "x",
        "/",
        "/a/",
        "//a",
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/..",
        "/a\n",
        "/a\0b",
        "/" + "x" * 256,
        "/a" * 2048,
    ):
        assert names.path_problem(path) != "", path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä ✓ \\x2d", "plain ä ✓ \\x2d"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x7f\x80\x9b", "\\x7f\\x80\\x9b"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("a\u2028b\ufeff\u200b", "a\\u2028b\\ufeff\\u200b"),
        (b"\xff".decode(errors="surrogateescape"), "\\xff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_printable_escapes_control_and_invisible_characters(text: str, shown: str) -> None:
    assert names.printable(text) == shown


def test_printable_keeps_listed_characters() -> None:
    assert names.printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@settings(deadline=None)
@given(st.text(st.characters()))
def test_printable_text_is_unchanged(text: str) -> None:
    shown = names.printable(text)
    assert names.printable(shown) == shown
    shown.encode()


def test_nearest_ignores_spelling() -> None:
    known = ["name", "dropIns", "deletionPolicy"]
    assert names.nearest("drop_ins", known) == "dropIns"
    assert names.nearest("DROPINS", known) == "dropIns"
    assert names.nearest("deletePolicy", known) == "deletionPolicy"
    assert names.nearest("xyz", known) == ""
    assert names.nearest("x" * 1_000_000, known) == ""
