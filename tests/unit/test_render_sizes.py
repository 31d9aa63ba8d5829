"""Sizes, exit codes and command lines in systemd's words."""

from __future__ import annotations

import pytest

from tambourinefs.procfs.render.formats import command_line, ending, protection, signal_name, size

K, M, G, T, P, E = (1024**n for n in range(1, 7))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (K - 1, "1023B"),
        (K, "1.0K"),
        (K + 102, "1.0K"),
        (K + 103, "1.1K"),
        (M - 1, "1023.9K"),
        (M, "1.0M"),
        (int(17.5 * M), "17.5M"),
        (G - 1, "1023.9M"),
        (G, "1.0G"),
        (T - 1, "1023.9G"),
        (T, "1.0T"),
        (P, "1.0P"),
        (E, "1.0E"),
        (2**64 - 2, "15.9E"),
        # What is below the next smaller unit is dropped before the digit is made.
        (M + K - 1, "1.0M"),
        (G + 102 * M + 1023 * K, "1.0G"),
        (G + 103 * M, "1.1G"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count, 252) == text
    assert size(count, 257) == text.replace(".0", "")


def test_no_limit_of_a_protection_is_infinity() -> None:
    assert (protection(None, 252), protection(2**64 - 1, 257)) == ("infinity", "infinity")
    assert (protection(K, 252), protection(K, 257)) == ("1.0K", "1K")


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (1, 0, "code=exited, status=0/SUCCESS"),
        (1, 1, "code=exited, status=1/FAILURE"),
        (1, 2, "code=exited, status=2"),  # systemctl names the classes libc and systemd, not LSB
        (1, 64, "code=exited, status=64"),  # nor BSD
        (1, 203, "code=exited, status=203/EXEC"),
        (1, 226, "code=exited, status=226/NAMESPACE"),
        (1, 255, "code=exited, status=255/EXCEPTION"),
        (2, 15, "code=killed, signal=TERM"),
        (2, 9, "code=killed, signal=KILL"),
        (3, 11, "code=dumped, signal=SEGV"),
        (3, 6, "code=dumped, signal=ABRT"),
    ],
)
def test_endings(code: int, status: int, text: str) -> None:
    assert ending(code, status) == text


def test_signals_without_a_name_of_their_own() -> None:
    assert (signal_name(34), signal_name(37), signal_name(33)) == ("RTMIN+0", "RTMIN+3", "33")


@pytest.mark.parametrize(
    ("cmdline", "text"),
    [
        (b"", "[comm]"),
        (b"\0\0", "[comm]"),
        (b"sleep\x001\0", "sleep 1"),
        (b"x\0\0y\0", 'x "" y'),
        (b"a b\0", '"a b"'),
        (b'q"\0\\\0$\0`\0', '"q\\"" "\\\\" "\\$" "\\`"'),
        (
            b"*\0?\0[\0(\0)\0<\0>\0|\0&\0;\0!\0'\0",
            '"*" "?" "[" "(" ")" "<" ">" "|" "&" ";" "!" "\'"',
        ),
        (b"{}\0~\0#\0=\0%\0^\0", "{} ~ # = % ^"),
        (b"\x1b[31m\0\t\0\x7f\0", '"\\033[31m" "\\t" "\\177"'),
        (b"line\nnew\0", '"line\\nnew"'),
        (b"\xff\xfe\0", '"\\377\\376"'),
        ("ünï\0".encode(), "ünï"),
    ],
)
def test_command_lines(cmdline: bytes, text: str) -> None:
    assert command_line(cmdline, "comm") == text


def test_a_command_line_has_an_end() -> None:
    assert len(command_line(b"x" * 10_000_000, "x")) == 4096
