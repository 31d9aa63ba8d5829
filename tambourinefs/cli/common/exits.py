"""Errors at the edge of the command line: an exit code, a message and a hint."""

from __future__ import annotations

from typing import Final

from tambourinefs import errors

EXIT_CODES: Final[dict[type[errors.TambourineError], int]] = {
    errors.InvalidInput: 2,
    errors.RefusedByPolicy: 3,
    errors.Unreachable: 4,
}


def exit_code(error: errors.TambourineError) -> int:
    """2 for wrong input, 3 for a refusal, 4 for a peer that cannot be reached, 1 for all else."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def explain(error: errors.TambourineError) -> str:
    """`error: …`, and `hint: …` on a second line where there is one."""
    return f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else "")
