"""Runs other programs for the installation."""

from __future__ import annotations

import os
import subprocess

from tambourinefs.errors import HostError

# Not our PYTHONPATH and not our directory: pip would find the tree that we run from and call it installed.
_ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
_TAIL = 25  # lines of a failed program's output that a person gets to see


def run(*argv: str, timeout: float = 900) -> str:
    """Run a program to its end and return its standard output.

    Raises HostError with the end of what it printed.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            cwd="/",
            env=_ENVIRONMENT,
        )
    except FileNotFoundError:
        raise HostError(f"{argv[0]} is missing on this host") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{' '.join(argv)} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-_TAIL:])
        raise HostError(f"{' '.join(argv)} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(*argv: str, timeout: float = 60) -> bool:
    """Whether a program ends with status 0."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            cwd="/",
            env=_ENVIRONMENT,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
