"""Seconds of processes from start to end, in turns: running.py ROUNDS JSON, a list of argument lists."""

import json
import os
import sys
import time


def run(argv: list[str]) -> float:
    """posix_spawn(3): the size of this process does not matter; output goes to /dev/null."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=null)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) not in (0, 3):  # 3: systemctl status of an inactive unit
        raise SystemExit(f"{argv}: {os.waitstatus_to_exitcode(status)}")
    return took


rounds, commands = int(sys.argv[1]), json.loads(sys.argv[2])
for command in commands:
    run(command)
print(json.dumps([[run(command) for command in commands] for _ in range(rounds)]))
