"""Runs `systemd-analyze verify` on drafts before they are written: a bad unit never replaces a good
one.

A staged tree comes before the host's units in the search path, so drafts see each other, and
drop-ins count. One call for a batch; if that finds anything, one for each draft that it names. It
runs no generators and needs no running systemd. Options: systemd-analyze(1); --man=no (a missing
man page would fail), --recursive-errors=no (a dependency's faults are not the draft's, and typing
errors would exit 0 without it).
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.admission.findings import Draft, Findings, sort_findings, template_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log: Final = logging.getLogger(__name__)

COMMAND: Final = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
BATCH_TIMEOUT: Final = 30.0  # seconds; 200 units take 0.1
SINGLE_TIMEOUT: Final = 10.0
OUTPUT_MAX: Final = 4 * 1024 * 1024  # bytes; bounds what a hostile unit prints
# systemd.unit(5), "System Unit Search Path", without the transient ones
UNIT_PATH: Final = (
    "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
    "/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached",
    "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
    "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    "/run/systemd/generator.late",
)  # fmt: skip


class Unverified(Exception):  # noqa: N818
    """systemd-analyze is missing, too slow, or was killed."""


class AnalyzeVerifier:
    """findings.Verifier with the host's systemd-analyze. `staging`: where to make a private directory."""

    def __init__(
        self,
        *,
        staging: Path | None = None,
        unit_path: Sequence[str] = UNIT_PATH,
        single_timeout: float = SINGLE_TIMEOUT,
        batch_timeout: float = BATCH_TIMEOUT,
    ) -> None:
        self._staging = staging
        self._unit_path = unit_path
        self._single_timeout = single_timeout
        self._batch_timeout = batch_timeout

    async def verify(self, batch: Sequence[Draft]) -> Mapping[str, Findings]:
        """See findings.Verifier."""
        if not any(draft.text is not None or draft.drop_ins for draft in batch):
            return {draft.unit: Findings() for draft in batch}
        try:
            with tempfile.TemporaryDirectory(prefix="verify-", dir=self._staging) as name:
                stage = Path(name)
                await trio.to_thread.run_sync(_write, stage, batch)
                return await self._staged(stage, batch)
        except OSError as error:  # a full disk; a unit's name that is too long for a directory's
            if len(batch) == 1:
                said = f"it cannot be verified: {error.strerror or error}"
                return {batch[0].unit: Findings(problems=(said,))}
        found: dict[str, Findings] = {}
        for draft in batch:
            found.update(await self.verify([draft]))
        return found

    async def _staged(self, stage: Path, batch: Sequence[Draft]) -> dict[str, Findings]:
        files = {draft.unit: self._file(stage, draft) for draft in batch}
        present = [str(path) for path in files.values() if path is not None]
        try:
            status, output = await _run(stage, present, self._batch_timeout)
        except Unverified as error:
            log.warning("verifying %d units together: %s; one by one", len(present), error)
            suspects = list(batch)
        else:
            found = sort_findings(output, str(stage), batch)
            suspects = [draft for draft in batch if found[draft.unit].problems]
            if status not in {0, 1} or (status and not _explained(output, found)):
                suspects = list(batch)
            if not suspects:
                return found
        verdicts = {} if len(suspects) == len(batch) else found
        for draft in suspects:
            verdicts[draft.unit] = await self._single(stage, draft, files[draft.unit], batch)
        return {draft.unit: verdicts[draft.unit] for draft in batch}

    async def _single(
        self, stage: Path, draft: Draft, file: Path | None, batch: Sequence[Draft]
    ) -> Findings:
        if file is None:
            return Findings()
        try:
            status, output = await _run(stage, [str(file)], self._single_timeout)
            found = sort_findings(output, str(stage), batch)[draft.unit]
            if found.problems and draft.text is None and not await self._was_good(file, draft):
                return Findings(warnings=found.problems)
            if status not in {0, 1} or (status and not _explained(output, {draft.unit: found})):
                raise Unverified(f"failed with status {status} and no output")  # noqa: TRY301
        except Unverified as error:
            return Findings(problems=(f"systemd-analyze verify: {error}",))
        return found

    async def _was_good(self, file: Path, draft: Draft) -> bool:
        """Whether a unit of the host passes without the draft's drop-ins."""
        with tempfile.TemporaryDirectory(prefix="verify-", dir=self._staging) as empty:
            _, output = await _run(Path(empty), [str(file)], self._single_timeout)
        return not sort_findings(output, empty, [draft])[draft.unit].problems

    def _file(self, stage: Path, draft: Draft) -> Path | None:
        """The file to verify: the staged one, or the host's; None: the host has none."""
        if draft.text is not None:
            return stage / draft.unit
        if not draft.drop_ins:
            return None
        for directory in self._unit_path:
            for name in (draft.unit, template_of(draft.unit)):
                if (path := Path(directory, name)).is_file():
                    return path.with_name(draft.unit)  # verify finds the template of an instance
        return None


def _explained(output: str, found: Mapping[str, Findings]) -> bool:
    """Whether findings (or a command that the batch writes) explain a status of 1."""
    return any(f.problems or f.warnings for f in found.values()) or " is not executable: " in output


def _write(stage: Path, batch: Sequence[Draft]) -> None:
    for draft in batch:
        assert "/" not in draft.unit, draft.unit  # names are checked by the model
        if draft.text is not None:
            _put(stage / draft.unit, draft.text)
        for name, content in draft.drop_ins:
            assert "/" not in name, name
            directory = stage / f"{draft.unit}.d"
            directory.mkdir(exist_ok=True)
            _put(directory / name, content)


def _put(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="surrogateescape"))


async def _run(stage: Path, files: Sequence[str], within: float) -> tuple[int, str]:
    """Exit status and messages. Raises Unverified. `within` in seconds."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "SYSTEMD_COLORS": "0",
        "SYSTEMD_LOG_TARGET": "console",
        "SYSTEMD_LOG_LEVEL": "info",
        "SYSTEMD_UNIT_PATH": f"{stage}:",  # the colon: and the usual path after it
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108
    }
    if not files:
        return 0, ""
    try:
        process = await trio.lowlevel.open_process(
            [*COMMAND, *files],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            env=environment,
            cwd=stage,
        )
    except OSError as error:
        raise Unverified(f"cannot run {COMMAND[0]}: {error}") from error
    output = b""
    try:
        with trio.move_on_after(within) as scope:
            output = await _read(process)
            await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stderr is not None:
                await process.stderr.aclose()
    if scope.cancelled_caught:
        raise Unverified(f"no answer within {within:g} s")
    return process.returncode or 0, output.decode(errors="replace")


async def _read(process: trio.Process) -> bytes:
    assert process.stderr is not None
    output = bytearray()
    while received := await process.stderr.receive_some():
        output += received[: max(0, OUTPUT_MAX - len(output))]  # read on: it must be able to end
    return bytes(output)
