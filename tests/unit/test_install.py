"""The installation's decisions: whose a file is, what is remembered, what a failure says."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tambourinefs.errors import HostError
from tambourinefs.install import check, environment, host, leftovers
from tambourinefs.install.ledger import Ledger
from tambourinefs.install.plan import Changes, Options, Step, carry_out
from tambourinefs.mount import mounts


def put(root: Path, path: str | Path, text: str = "") -> Path:
    file = root / str(path).lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def ledger(root: Path) -> Ledger:
    return Ledger(root / "var/lib/tambourine/install.json")


def test_what_the_ledger_names_is_ours_and_the_rest_is_foreign(tmp_path: Path) -> None:
    mine, theirs = host.places()[-1], host.places()[-2]
    known = ledger(tmp_path)
    known.add(mine)
    put(tmp_path, mine)
    foreign = put(tmp_path, theirs)
    assert list(check.foreign(Options(root=tmp_path), ledger(tmp_path))) == [foreign]
    assert mine in ledger(tmp_path)


def test_files_of_a_version_without_a_ledger_are_ours(tmp_path: Path) -> None:
    put(tmp_path, host.places()[-1])
    put(tmp_path, environment.MARK, "0123\n")
    assert not list(check.foreign(Options(root=tmp_path), ledger(tmp_path)))


def test_a_directory_of_others_in_the_environment_s_place_is_foreign(tmp_path: Path) -> None:
    options = Options(root=tmp_path)
    put(tmp_path, environment.PREFIX / "readme", "mine")
    assert list(check.foreign(options, ledger(tmp_path))) == [tmp_path / "opt/tambourine"]


@pytest.mark.parametrize("place", ["/proc/tambourine", "/run/tambourine/proc"])
def test_a_mount_of_others_at_our_place_is_named_and_one_of_ours_is_not(place: str) -> None:
    """proc(5); the literal path is there with the kernel module alone, which few machines that run tests have."""
    ours = f"36 22 0:41 / {place} ro - fuse.tambourine tambourine-proc ro\n"
    stranger = f"37 22 0:42 / {place} rw - tmpfs stranger rw\n"
    beside = "38 22 0:43 / /proc/tambourine2 rw - tmpfs other rw\n"
    assert not list(check.taken(mounts.parse((ours + beside).encode())))
    assert not list(check.taken(mounts.parse((stranger + ours).encode())))  # ours is on top
    ((at, there),) = check.taken(mounts.parse((ours + stranger).encode()))
    assert (at, there.source) == (place, b"stranger")


def test_half_an_environment_of_ours_is_not(tmp_path: Path) -> None:
    put(tmp_path, environment.PREFIX / "pyvenv.cfg")
    put(tmp_path, environment.PREFIX / "bin/python")
    assert not list(check.foreign(Options(root=tmp_path), ledger(tmp_path)))


@pytest.mark.parametrize("others", [False, True])
def test_what_was_made_goes_with_its_directories_but_not_with_what_others_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    unit, theirs = tmp_path / "lib/systemd/system/ours.service", tmp_path / "lib/a/theirs"
    monkeypatch.setattr(host, "places", lambda: [unit, theirs])
    known = ledger(tmp_path)
    (tmp_path / "lib").mkdir()
    host._remember(Options(), Changes(known, image=True), unit)
    put(Path("/"), unit)
    put(Path("/"), theirs)
    if others:
        put(Path("/"), unit.with_name("mine.service"))
    assert leftovers.take_away(known) == [unit]
    assert unit.parent.exists() == others
    assert (tmp_path / "lib/systemd").exists() == others
    assert theirs.exists()
    assert not ledger(tmp_path).made


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 1}', '{"version": "x", "made": [], "build": "", "config": ""}'],
)
def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = put(tmp_path, "var/lib/tambourine/install.json", text)
    with pytest.raises(HostError, match=r"install\.json cannot be read") as raised:
        Ledger(file)
    assert "Remove it" in raised.value.hint


def test_a_ledger_of_a_later_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = put(tmp_path, "l", '{"version": 2, "made": [], "build": "", "config": ""}')
    with pytest.raises(HostError, match="later version") as raised:
        Ledger(file)
    assert "Install that version" in raised.value.hint


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "run this again")],
)
def test_an_error_of_the_host_says_the_step_the_file_and_what_to_do(
    tmp_path: Path, number: int, hint: str
) -> None:
    def fail(_: Changes) -> str:
        raise OSError(number, "no", "/etc/x")

    with pytest.raises(HostError, match="the step: /etc/x") as raised:
        carry_out([Step("the step", fail)], print, Changes(ledger(tmp_path), image=True))
    assert hint in raised.value.hint


def test_a_dry_run_does_only_what_looks(tmp_path: Path) -> None:
    done: list[str] = []

    def do(name: str) -> Step:
        def note(_: object) -> str:
            done.append(name)
            return ""

        return Step(name, note, looks=name == "look")

    said: list[str] = []
    carry_out(
        [do("look"), do("write")], said.append, Changes(ledger(tmp_path), image=True), dry_run=True
    )
    assert done == ["look"]
    assert said == ["look: as it should be", "would: write"]
