"""The programs to compare with, installed by the bench."""

from __future__ import annotations

import os
import shutil
import subprocess


def need(program: str, package: str) -> str:
    """The path of a program, whose Debian package is installed when it is missing."""
    found = shutil.which(program)
    if found:
        return found
    print(f"installing {package} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = shutil.which(program)
    if not found:
        raise SystemExit(f"no {program}: {' '.join(command)} said:\n{done.stdout}{done.stderr}")
    return found
