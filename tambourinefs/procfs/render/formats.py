"""Sizes, endings of processes and command lines as systemd prints them. Pure.

Sources, of systemd 252 and 257: format_bytes_full() with FORMAT_BYTES_USE_IEC | BELOW_POINT |
TRAILING_B (src/basic/format-util.c); exit_status_mappings[] (src/shared/exit-status.c;
systemd.exec(5), "Process Exit Codes") and sigchld_code_to_string(); quote_command_line() and
shell_maybe_quote() (src/basic/escape.c), which GetUnitProcesses uses.
"""

from __future__ import annotations

import signal
from typing import Final

INFINITY: Final = (1 << 64) - 1
_SUFFIXES: Final = "KMGTPE"
_NO_ZERO: Final = 256  # the release since which `3M` is not `3.0M`

CLD_EXITED: Final = 1
_CODES: Final = {
    1: "exited",
    2: "killed",
    3: "dumped",
    4: "trapped",
    5: "stopped",
    6: "continued",
}
# fmt: off
_STATUSES: Final = {
    0: "SUCCESS", 1: "FAILURE",
    200: "CHDIR", 201: "NICE", 202: "FDS", 203: "EXEC", 204: "MEMORY", 205: "LIMITS", 206: "OOM_ADJUST",
    207: "SIGNAL_MASK", 208: "STDIN", 209: "STDOUT", 210: "CHROOT", 211: "IOPRIO", 212: "TIMERSLACK",
    213: "SECUREBITS", 214: "SETSCHEDULER", 215: "CPUAFFINITY", 216: "GROUP", 217: "USER",
    218: "CAPABILITIES", 219: "CGROUP", 220: "SETSID", 221: "CONFIRM", 222: "STDERR", 224: "PAM",
    225: "NETWORK", 226: "NAMESPACE", 227: "NO_NEW_PRIVILEGES", 228: "SECCOMP", 229: "SELINUX_CONTEXT",
    230: "PERSONALITY", 231: "APPARMOR", 232: "ADDRESS_FAMILIES", 233: "RUNTIME_DIRECTORY",
    235: "CHOWN", 236: "SMACK_PROCESS_LABEL", 237: "KEYRING", 238: "STATE_DIRECTORY",
    239: "CACHE_DIRECTORY", 240: "LOGS_DIRECTORY", 241: "CONFIGURATION_DIRECTORY", 242: "NUMA_POLICY",
    243: "CREDENTIALS", 245: "BPF", 255: "EXCEPTION",
}
# fmt: on

MAX_BYTES: Final = 4096  # of one command line; the kernel would give megabytes

_QUOTE: Final = frozenset(" \t\n\r\"\\`$*?['()<>|&;!")
_ESCAPE: Final = frozenset('"\\`$')
_C_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def size(count: int, release: int) -> str:
    """`17.5M`: powers of 1024, one digit after the point, rounded down; below 1024 `1023B`. `count`
    is bytes, `release` systemd's.
    """
    if count < 1024:
        return f"{count}B"
    power = min((count.bit_length() - 1) // 10, len(_SUFFIXES))
    factor = 1 << (10 * power)
    # systemd drops the bits below the next smaller unit first, so that nothing overflows 64 bits.
    tenth = (count // (factor >> 10)) * 10 // 1024 % 10
    point = "" if tenth == 0 and release >= _NO_ZERO else f".{tenth}"
    return f"{count // factor}{point}{_SUFFIXES[power - 1]}"


def protection(count: int | None, release: int) -> str:
    """The size of MemoryMin= or MemoryLow=, where no limit is `infinity`."""
    return "infinity" if count is None or count >= INFINITY else size(count, release)


def ending(code: int, status: int) -> str:
    """`code=exited, status=203/EXEC` or `code=killed, signal=TERM`. `code` is a CLD_… of
    sigaction(2).
    """
    how = _CODES.get(code, "n/a")
    if code != CLD_EXITED:
        return f"code={how}, signal={signal_name(status)}"
    name = _STATUSES.get(status)
    return f"code={how}, status={status}" + (f"/{name}" if name else "")


def signal_name(number: int) -> str:
    """`TERM`, `RTMIN+3`; the number where it is none (signal_to_string())."""
    if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f"RTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def command_line(cmdline: bytes, comm: str) -> str:
    """One line from /proc/PID/cmdline, which separates by NUL; `[comm]` where that is empty (a
    zombie).
    """
    arguments = cmdline[:MAX_BYTES].rstrip(b"\0")
    if not arguments:
        return f"[{comm}]"
    return " ".join(quote(argument) for argument in arguments.split(b"\0"))


def quote(argument: bytes) -> str:
    """The argument as a shell word: bare where that is safe, else in double quotes; control
    characters and bytes that are no UTF-8 as C escapes.
    """
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
