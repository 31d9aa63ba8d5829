"""The agent and the installation refuse applied state of another format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_a_saved_record_is_loaded_again(tmp_path: Path) -> None:
    record = Record("local", "a", "a.service", generation=3)
    with Store(tmp_path) as store:
        store.save([record])
        assert store.load() == {record.key: record}
    assert numbers(tmp_path) == [formats.APPLIED]


@pytest.mark.parametrize(
    ("version", "said", "do"),
    [
        (
            f"{formats.APPLIED + 1}\n",
            f"has version {formats.APPLIED + 1}, written by a later Tambourine; this one reads version {formats.APPLIED}",
            "Install the version that wrote it",
        ),
        (
            "two",
            'version is invalid: expected a number, got "two"',
            "Its records (services/*.json) carry the number",
        ),
        (
            "0",
            'version is invalid: expected a number, got "0"',
            "Its records (services/*.json) carry the number",
        ),
        ("\x1b[1m9", "version is invalid", "Its records (services/*.json) carry the number"),
        ("9" * 5000, "version is invalid", "Its records (services/*.json) carry the number"),
    ],
)
def test_state_of_another_format_is_refused_before_anything_is_changed(
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
        ({**FIRST, "version": formats.APPLIED + 1}, "this version reads format"),
        ({**FIRST, "version": 0}, "it has format 0"),
        ({**FIRST, "version": "1"}, "Expected `int`"),
        (FIRST, "missing required field `version`"),
    ],
)
def test_a_record_of_another_format_is_an_error_that_names_its_file(
    tmp_path: Path, record: dict[str, object], said: str
) -> None:
    keep(tmp_path, f"{formats.APPLIED}\n", record)
    with Store(tmp_path) as store, pytest.raises(HostError, match=r"local_a\.json") as raised:
        store.load()
    assert said in raised.value.message


@pytest.mark.parametrize("version", [None, f"{formats.APPLIED}\n", "1"])
def test_a_host_without_state_or_with_this_format_passes_the_check(
    tmp_path: Path, version: str | None
) -> None:
    if version is not None:
        keep(tmp_path / "var/lib/tambourine/agent", version)
    check._check_state(Options(root=tmp_path))
