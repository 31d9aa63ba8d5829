"""Why a unit failed or did not start, in one line: result, exit code, signal, unmet condition. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tambourinefs.model.unit import Unit, UnitCondition

# siginfo's si_code of SIGCHLD (sigaction(2)).
CLD_EXITED: Final = 1
CLD_DUMPED: Final = 3

# Result of the unit types (systemd.exec(5), $SERVICE_RESULT).
_RESULTS: Final = {
    "protocol": "the service did not follow the protocol of its Type=",
    "timeout": "an operation timed out",
    "watchdog": "the watchdog timed out",
    "start-limit-hit": "start limit hit",
    "resources": "systemd could not set up resources of the unit",
    "oom-kill": "a process was killed by the OOM killer",
    "exec-condition": "ExecCondition= was not met",
    "trigger-limit-hit": "trigger limit hit",
    "service-start-limit-hit": "start limit of its service hit",
}


def failure(unit: Unit) -> str:
    """Why the unit failed, or failed and is restarted: result, exit code or signal; "" if it did not."""
    if unit.load_state in {"bad-setting", "error"}:
        return f"the unit file cannot be used: {unit.load_error[1] or unit.load_error[0]}"
    if unit.result in {"", "success"} and unit.active_state != "failed":
        return ""
    words = [_RESULTS.get(unit.result, "")]
    words.append(_how_it_ended(unit))
    said = "; ".join(word for word in words if word)
    return said or f"result {unit.result or unit.active_state}"


def _how_it_ended(unit: Unit) -> str:
    for run in reversed(unit.execs):
        if run.exit_usec and not run.ignore_failure and (run.code != CLD_EXITED or run.status):
            program = run.argv[0] if run.argv else ""
            return f"{run.setting}={program} {_ending(run.code, run.status)}"
    if unit.exec_main_exit_usec and (unit.exec_main_code != CLD_EXITED or unit.exec_main_status):
        return f"the main process {_ending(unit.exec_main_code, unit.exec_main_status)}"
    return ""


def _ending(code: int, status: int) -> str:
    if code == CLD_EXITED:
        return f"ended with exit code {status}"
    core = " and dumped core" if code == CLD_DUMPED else ""
    try:
        return f"was killed by {signal.Signals(status).name}{core}"
    except ValueError:
        return f"was killed by signal {status}{core}"


def unmet(unit: Unit) -> str:
    """Which Condition…= or Assert…= was not met, as in the unit file; "" when all were, or the unit was
    not started yet.
    """
    if not unit.condition_usec:
        return ""
    if not unit.condition_result:
        return _first_unmet(unit.conditions) or "a condition was not met"
    if not unit.assert_result:
        return _first_unmet(unit.asserts) or "an assertion was not met"
    return ""


def _first_unmet(conditions: tuple[UnitCondition, ...]) -> str:
    for condition in conditions:
        if condition.result < 0:
            trigger, negate = "|" if condition.trigger else "", "!" if condition.negate else ""
            return f"{condition.setting}={trigger}{negate}{condition.parameter} was not met"
    return ""
