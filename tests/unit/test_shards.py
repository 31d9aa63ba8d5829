"""A lane in several processes: every test is run once, by one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES, TESTS = 6, 3


def test_each_file_is_run_by_one_process_and_whole(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for number in range(FILES):
        names = [f"test_{number}_{test}" for test in range(TESTS)]
        text = "".join(f"def {name}(): pass\n" for name in names)
        (tmp_path / f"test_{number}.py").write_text(text)
    plugin = "from tests import shards\ndef pytest_configure(config): shards.register(config)\n"
    (tmp_path / "conftest.py").write_text(plugin)
    environment = {
        **os.environ,
        "TAMBOURINE_SHARDS": str(shared),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        str(tmp_path),
    ]
    started = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    ran = [
        [line.split()[0].partition("::")[2] for line in text.splitlines() if " PASSED" in line]
        for text in said
    ]
    assert sorted(ran[0] + ran[1]) == [f"test_{n}_{t}" for n in range(FILES) for t in range(TESTS)]
    assert {name[:6] for name in ran[0]} & {name[:6] for name in ran[1]} == set()
