"""How processes end, in systemd's words. Pure.

Source: exit_status_mappings[] (src/shared/exit-status.c, systemd 252; systemd.exec(5), "Process Exit Codes") and
sigchld_code_to_string(). systemctl names the classes libc and systemd only.
"""

from __future__ import annotations

import signal
from typing import Final

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


def ending(code: int, status: int) -> str:
    """`code=exited, status=203/EXEC` or `code=killed, signal=TERM`. `code` is a CLD_… of sigaction(2)."""
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
