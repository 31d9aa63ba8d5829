"""Manifests are read from files, directories and standard input, all of them before anything is done."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tambourinefs.cli.host.sources import read_all
from tambourinefs.errors import InvalidInput, InvalidManifest

TEXT = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata: {{name: {name}{more}}}
spec: {{name: {name}, command: start}}
"""


def write(path: Path, *names: str, more: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n".join(TEXT.format(name=name, more=more) for name in names))
    return str(path)


def names(found: list) -> list[str]:  # type: ignore[type-arg]
    return [source.manifest.metadata.name for source in found]


def test_several_files_of_several_documents(tmp_path: Path) -> None:
    found = read_all([write(tmp_path / "a.yaml", "a", "b"), write(tmp_path / "c.yml", "c")])
    assert names(found) == ["a", "b", "c"]
    assert found[0].directory == tmp_path


def test_a_directory_in_the_order_of_its_names_and_below_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "2.yaml", "b")
    write(tmp_path / "1.yaml", "a")
    write(tmp_path / "notes.txt", "x")
    write(tmp_path / "deep" / "3.yaml", "c")
    assert names(read_all([str(tmp_path)])) == ["a", "b"]
    assert names(read_all([str(tmp_path)], recursive=True)) == ["a", "b", "c"]


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no manifests in this directory"):
        read_all([str(tmp_path)])


def test_standard_input_is_yaml_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = TEXT.format(name="a", more="")
    json = (
        '{\n\t"apiVersion": "tambourine.dev/v1alpha1", "kind": "Tambourine",'
        '\n\t"metadata": {"name": "b"}, "spec": {"name": "b"}}'
    )
    listed = f'{{"apiVersion": "v1", "kind": "List", "items": [{json.replace(chr(9), "")}]}}'
    for text, expected in ((yaml, ["a"]), (json, ["b"]), (listed, ["b"])):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        found = read_all(["-"])
        assert names(found) == expected
        assert found[0].directory is None


def test_another_namespace_is_refused_with_where_it_is_managed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a", more=", namespace: storage")
    with pytest.raises(InvalidManifest, match='"storage" is managed in Kubernetes') as caught:
        read_all([path])
    assert f"kubectl apply -f {path}" in caught.value.hint
    local = write(tmp_path / "b.yaml", "b", more=", namespace: local")
    assert names(read_all([local])) == ["b"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: [")
    (tmp_path / "worse.json").write_text('{"kind": 5}')
    good = write(tmp_path / "good.yaml", "a")
    with pytest.raises(InvalidInput) as caught:
        read_all([str(tmp_path / "bad.yaml"), good, str(tmp_path / "worse.json")])
    assert "bad.yaml" in caught.value.message
    assert "worse.json" in caught.value.message


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path / "1.yaml", "a"), write(tmp_path / "2.yaml", "a")
    with pytest.raises(InvalidManifest, match=r"duplicate manifest: in .*1.yaml and in .*2.yaml"):
        read_all([first, second])
