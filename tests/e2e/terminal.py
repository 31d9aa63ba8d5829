"""A person at a terminal of a host: who is asked, and answers."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from tests.lab.hosts import Host


@dataclass(frozen=True)
class Talk:
    """What stood on the terminal in the end, and the command's exit status."""

    text: str
    status: int


def talk(host: Host, command: str, answers: Mapping[str, str], *, seconds: float = 120) -> Talk:
    """Run a shell command on a terminal of its own (script(1)) and give each answer when its question stands there.

    AssertionError where a question was not asked, in this order, within the time.
    """
    argv = ("script", "--quiet", "--return", "--flush", "--command", command, "/dev/null")
    process = host.popen(*argv, stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(seconds, process.kill)
    late.start()
    text, asked = "", dict(answers)
    try:
        while (character := process.stdout.read(1)) != "":
            text += character
            question = next(iter(asked), None)
            if question is not None and question in text:
                process.stdin.write(f"{asked.pop(question)}\n")
                process.stdin.flush()
        process.stdin.close()
        status = process.wait(seconds)
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    assert not asked, f"never asked: {list(asked)}\n{text}"
    return Talk(text, status)
