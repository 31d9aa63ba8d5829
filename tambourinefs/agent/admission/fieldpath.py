"""The field of a manifest that a refusal is about: `spec.files[2].path`. Pure.

A refusal of a unit with drop-ins has no single field: systemd reads them as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tambourinefs.agent.state.record import Claim
    from tambourinefs.model.manifest import Spec

NAME = "spec.name"


def of_texts(spec: Spec) -> str:
    """The manifest's unit or drop-in; "" for none, or several."""
    if spec.unit is not None:
        return "" if spec.drop_ins else "spec.unit"
    return "spec.dropIns[0].content" if len(spec.drop_ins) == 1 else ""


def of_file(spec: Spec, path: str) -> str:
    """The path of the file at `path`."""
    found = (f"spec.files[{at}].path" for at, file in enumerate(spec.files) if file.path == path)
    return next(found, "")


def of_claim(spec: Spec, claim: Claim) -> str:
    """Where the manifest claims that name. Another unit's is in Alias= or Also= of its text."""
    kind, _, what = claim.partition(" ")
    if kind == "file":
        return of_file(spec, what)
    if kind == "drop-in":
        name = what.rpartition("/")[2]
        found = (
            f"spec.dropIns[{at}].name" for at, one in enumerate(spec.drop_ins) if one.name == name
        )
        return next(found, "")
    return NAME if what == spec.unit_name else of_texts(spec)


def at(path: str, message: str) -> str:
    """`message` with the field before it, if there is one."""
    return f"{path}: {message}" if path else message
