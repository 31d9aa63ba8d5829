"""Applied state of an older format is brought forward, durably; of a newer one it is refused, by agent and installation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tambourinefs.agent.state import migrations
from tambourinefs.agent.state.record import Record
from tambourinefs.agent.state.store import Store
from tambourinefs.errors import HostError
from tambourinefs.install import check
from tambourinefs.install.plan import Options
from tambourinefs.model import formats

FIRST = {"namespace": "local", "name": "a", "unit": "a.service", "generation": 3, "uid": "u"}


def keep(directory: Path, version: str, *records: dict[str, object]) -> None:
    (directory / "services").mkdir(parents=True)
    (directory / "version").write_text(version)
    for record in records:
        (directory / f"services/local_{record['name']}.json").write_text(json.dumps(record))


def numbers(directory: Path) -> list[int]:
    return [json.loads(f.read_bytes())["version"] for f in sorted(directory.glob("services/*"))]


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program two formats later: in the second a generation is a text, in the third it is called otherwise."""
    monkeypatch.setattr(formats, "APPLIED", 3)
    second = lambda raw: {**raw, "generation": str(raw["generation"])}  # noqa: E731
    third = lambda raw: {**raw, "generation": int(raw["generation"]) + 100}  # noqa: E731
    monkeypatch.setattr(migrations, "STEPS", {1: second, 2: third})


@pytest.mark.usefixtures("third")
def test_records_of_every_older_format_are_brought_forward_step_by_step_and_stay_so(
    tmp_path: Path,
) -> None:
    second = {**FIRST, "name": "b", "version": 2, "generation": "4"}
    newest = {**FIRST, "name": "c", "version": 3, "generation": 105}
    keep(tmp_path, "1\n", FIRST, second, newest)
    with Store(tmp_path) as store:
        assert [r.generation for r in store.load().values()] == [103, 104, 105]
    assert (tmp_path / "version").read_text() == "3\n"
    assert numbers(tmp_path) == [3, 3, 3]
    with Store(tmp_path) as store:
        assert [r.generation for r in store.load().values()] == [103, 104, 105]


@pytest.mark.usefixtures("third")
def test_a_migration_that_was_cut_is_refused_by_the_old_program_and_ended_by_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, "1\n", FIRST)

    def cut(_: object) -> bytes:
        raise OSError("power")

    with monkeypatch.context() as patch, Store(tmp_path) as store:
        patch.setattr(migrations, "to_bytes", cut)
        with pytest.raises(OSError, match="power"):
            store.load()
    with monkeypatch.context() as patch:
        patch.setattr(formats, "APPLIED", 1)
        with pytest.raises(HostError, match="has version 3, written by a later Tambourine"):
            Store(tmp_path)
    with Store(tmp_path) as store:
        assert [r.generation for r in store.load().values()] == [103]
    assert numbers(tmp_path) == [3]


def test_what_this_program_keeps_it_reads_and_so_did_the_first(tmp_path: Path) -> None:
    record = Record("local", "a", "a.service", generation=3)
    with Store(tmp_path) as store:
        store.save([record])
        assert store.load() == {record.key: record}
    assert numbers(tmp_path) == [formats.APPLIED]
    assert migrations.from_bytes(json.dumps(FIRST).encode())[0].generation == 3


def test_every_format_before_this_one_has_its_step() -> None:
    assert set(migrations.STEPS) == set(range(1, formats.APPLIED))


@pytest.mark.parametrize(
    ("version", "said", "do"),
    [
        (
            f"{formats.APPLIED + 1}\n",
            f"has version {formats.APPLIED + 1}, written by a later Tambourine; this one knows {formats.APPLIED}",
            "Install the version that wrote it, or a later one",
        ),
        ("two", 'version cannot be read: expected a number, got "two"', "Write the number"),
        ("0", 'version cannot be read: expected a number, got "0"', "Write the number"),
        ("\x1b[1m9", "version cannot be read", "Write the number"),
        ("9" * 5000, "version cannot be read", "Write the number"),
    ],
)
def test_a_state_that_this_program_does_not_know_is_refused_before_anything_is_touched(
    tmp_path: Path, version: str, said: str, do: str
) -> None:
    keep(tmp_path / "var/lib/tambourine/agent", version, FIRST)
    for look in (
        lambda: check._check_state(Options(root=tmp_path)),
        lambda: Store(tmp_path / "var/lib/tambourine/agent"),
    ):
        with pytest.raises(HostError) as raised:
            look()
        assert said in raised.value.message
        assert raised.value.message.isprintable()
        assert len(raised.value.message) < 400
        assert raised.value.hint.startswith(do)
    assert (tmp_path / "var/lib/tambourine/agent/version").read_text() == version


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**FIRST, "version": formats.APPLIED + 1}, "this program knows"),
        ({**FIRST, "version": 0}, "no step leads on from format 0"),
        ({**FIRST, "version": "1"}, "Expected `int`"),
    ],
)
def test_a_record_of_no_format_that_is_known_is_named(
    tmp_path: Path, record: dict[str, object], said: str
) -> None:
    keep(tmp_path, f"{formats.APPLIED}\n", record)
    with Store(tmp_path) as store, pytest.raises(HostError, match=r"local_a\.json") as raised:
        store.load()
    assert said in raised.value.message


@pytest.mark.parametrize("version", [None, f"{formats.APPLIED}\n", "1"])
def test_a_host_without_state_or_with_an_older_one_will_do(
    tmp_path: Path, version: str | None
) -> None:
    if version is not None:
        keep(tmp_path / "var/lib/tambourine/agent", version)
    check._check_state(Options(root=tmp_path))
