"""Which context and namespace are meant: kubectl's own rules, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.errors import InvalidConfig
from tambourinefs.kube.kubeconfig import choose, contexts


def _write(path: Path, current: str = "", **contexts_: dict[str, Any]) -> Path:
    found = [{"name": name, "context": context} for name, context in contexts_.items()]
    path.write_text(
        json.dumps({"contexts": found} | ({"current-context": current} if current else {}))
    )
    return path


def test_the_first_file_that_says_something_wins(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", x={"namespace": "of-a"})
    second = _write(tmp_path / "b", "x", x={"namespace": "of-b"}, y={})
    third = _write(tmp_path / "c", "y")
    environment = {"KUBECONFIG": f"{first}:{tmp_path}/not-there::{second}:{third}"}
    found = choose("", "", environment)
    assert (found.context, found.namespace) == ("x", "of-a")
    assert found.files == (first, second, third)
    assert contexts("", environment) == ["x", "x", "y"]


def test_a_context_without_a_namespace_means_default(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", "x", x={})
    assert choose(str(path), "", {}).namespace == "default"


def test_an_option_is_stronger_than_the_environment(tmp_path: Path) -> None:
    asked = _write(tmp_path / "a", "x", x={}, y={"namespace": "n"})
    other = _write(tmp_path / "b", "z", z={})
    found = choose(str(asked), "y", {"KUBECONFIG": str(other)})
    assert (found.files, found.context, found.namespace) == ((asked,), "y", "n")


def test_the_usual_place_is_in_the_home_directory(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    path = _write(tmp_path / ".kube" / "config", "x", x={})
    assert choose("", "", {"HOME": str(tmp_path)}).files == (path,)


def test_in_a_pod_without_a_kubeconfig_its_account_is_meant(tmp_path: Path) -> None:
    found = choose("", "", {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert (found.files, found.context) == ((), "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("contexts: [", "cannot be read"),
        ("- a list", "is not a kubeconfig"),
        ("just words", "is not a kubeconfig"),
        ("\x00", "cannot be read"),
        ("[" * 10_000, "cannot be read"),
        ("current-context: x", 'there is no context "x"'),
        ("contexts: 7", "no context is chosen"),
        ("contexts: [1, {name: x, context: 3}]\ncurrent-context: y", 'there is no context "y"'),
        ("", "no context is chosen"),
    ],
)
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=complaint) as caught:
        choose(str(path), "", {})
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_no_kubeconfig_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="there is no kubeconfig"):
        choose("", "", {"HOME": str(tmp_path)})
    with pytest.raises(InvalidConfig, match="cannot be read"):
        choose(str(tmp_path / "none"), "", {})
