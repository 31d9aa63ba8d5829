"""`kubectl tambourine` of this tree, as `pip install` would put it on PATH: programs that kubectl finds."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from tests.lab import kubebuild
from tests.lab.controlplane import ControlPlane
from tests.lab.state import CHECKOUT


def lay(directory: Path, python: Path) -> None:
    """Write the programs that setup.cfg names, for this interpreter and this tree."""
    directory.mkdir(exist_ok=True)
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    for line in config["options.entry_points"]["console_scripts"].strip().splitlines():
        name, _, place = (part.strip() for part in line.partition("="))
        module, _, function = place.partition(":")
        program = directory / name
        program.write_text(
            f"#!{python}\nimport sys\nsys.path.insert(0, {str(CHECKOUT)!r})\n"
            f"from {module} import {function}\nsys.exit({function}())\n"
        )
        program.chmod(0o755)


def environment(plane: ControlPlane) -> dict[str, str]:
    """In which kubectl and its plugin are found, and speak as the lab's administrator."""
    places = [str(plane.plugin), str(kubebuild.programs()), os.environ["PATH"]]
    return {"KUBECONFIG": str(plane.kubeconfig), "PATH": os.pathsep.join(places)}
