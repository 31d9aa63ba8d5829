"""A process's command line as systemctl prints it in the CGroup tree. Pure.

Source: quote_command_line() and shell_maybe_quote() of systemd 252 (src/basic/escape.c), which GetUnitProcesses uses.
"""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 4096  # of one command line; the kernel would give megabytes

_QUOTE: Final = frozenset(" \t\n\r\"\\`$*?['()<>|&;!")
_ESCAPE: Final = frozenset('"\\`$')
_C_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def command_line(cmdline: bytes, comm: str) -> str:
    """One line from /proc/PID/cmdline, which separates by NUL; `[comm]` where that is empty (a zombie)."""
    arguments = cmdline[:MAX_BYTES].rstrip(b"\0")
    if not arguments:
        return f"[{comm}]"
    return " ".join(quote(argument) for argument in arguments.split(b"\0"))


def quote(argument: bytes) -> str:
    """The argument as a shell word: bare where that is safe, else in double quotes; control characters and bytes
    that are no UTF-8 as C escapes."""
    text = argument.decode(errors="surrogateescape")
    if not text:
        return '""'
    if not any(c in _QUOTE or _is_odd(c) for c in text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _is_odd(c: str) -> bool:
    return c < " " or c == "\x7f" or "\udc80" <= c <= "\udcff"


def _escaped(c: str) -> str:
    if _is_odd(c):
        code = ord(c) & 0xFF
        return _C_ESCAPES.get(c, f"\\{code:03o}")
    return "\\" + c if c in _ESCAPE else c
