"""Modules that run at their first use: whoever uses one finds it whole; whoever does not pays nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tambourinefs.deferred import DEFERRED

RUN = """
import sys, threading
from tambourinefs import deferred
deferred.DEFERRED = frozenset({"later", "broken"})
deferred.defer()
"""


def output(code: str, *path: Path) -> list[str]:
    """The words that a process of its own prints, which finds modules in `path`, too."""
    place = f"import sys; sys.path[:0] = {[str(p) for p in path]}\n"
    done = subprocess.run(
        [sys.executable, "-c", place + code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "later.py").write_text(
        "import time\nprint('runs')\nfrom other import value\ntime.sleep(0.2)\n"
        "def __getattr__(name):\n    return name.upper()\n"
    )
    (tmp_path / "other.py").write_text("import later\nprint(later.__name__)\nvalue = 7\n")
    (tmp_path / "broken.py").write_text("import later_than_ever\n")
    return tmp_path


def test_an_import_runs_nothing_and_the_second_neither(modules: Path) -> None:
    code = "import later\nimport later\nfrom importlib import import_module\nimport_module('later')"
    assert output(f"{RUN}{code}\nprint('end')", modules) == ["end"]


def test_the_first_look_runs_it_once_and_it_is_a_module_like_any_other(modules: Path) -> None:
    code = (
        "import later\nprint(later.value, later.value, later.anything, type(later).__name__)\n"
        "print(type(later.__loader__).__name__, later.__spec__.loader is later.__loader__)"
    )
    assert output(RUN + code, modules) == [
        "runs", "later", "7", "7", "ANYTHING", "module", "SourceFileLoader", "True",
    ]  # fmt: skip


def test_a_name_of_it_is_imported_as_ever(modules: Path) -> None:
    assert output(f"{RUN}from later import value\nprint(value)", modules) == ["runs", "later", "7"]


def test_threads_that_look_at_once_see_it_whole(modules: Path) -> None:
    code = """
import later
found = []
gate = threading.Barrier(8)
def look():
    gate.wait()
    found.append(later.value)
threads = [threading.Thread(target=look) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(found)
"""
    assert "".join(output(RUN + code, modules)) == f"runslater{[7] * 8}".replace(" ", "")


def test_one_that_cannot_run_says_why_each_time(modules: Path) -> None:
    code = """
import broken
for _ in range(2):
    try:
        broken.anything
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert output(RUN + code, modules) == ["later_than_ever"] * 2


def test_one_that_is_not_there_is_not_found_as_ever() -> None:
    code = "try:\n    import broken\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    assert output(RUN + code) == ["broken"]


def test_each_can_still_be_used_and_needs_no_other_to_be_run_before() -> None:
    """A child of its own for each; what they lie in is imported once for all."""
    code = (
        "import importlib, os\nfrom tambourinefs import deferred\ndeferred.defer()\n"
        f"names = {sorted(DEFERRED)!r}\n"
        "for name in names:\n"
        "    importlib.import_module(name.rpartition('.')[0] or 'os')\n"
        "for name in names:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            module = importlib.import_module(name)\n"
        "            assert module.__doc__ is None or module.__doc__\n"
        "            print(name, type(module).__name__, len(vars(module)) > 8, flush=True)\n"
        "        finally:\n"
        "            os._exit(0)\n"
        "    os.waitpid(child, 0)"
    )
    wanted = [word for name in sorted(DEFERRED) for word in (name, "module", "True")]
    assert output(code) == wanted
