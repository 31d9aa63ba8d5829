"""PSS and context switches of processes for a while: idling.py SECONDS UNIT…; every process of the units' control groups."""

import json
import subprocess
import sys
import time
from pathlib import Path


def processes(unit: str) -> list[int]:
    main = subprocess.run(
        ["systemctl", "show", "-P", "MainPID", unit], capture_output=True, text=True, check=True
    )
    return [int(main.stdout)]


def pss(pid: int) -> int:
    """KiB, each shared page divided by those who share it (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise SystemExit(f"no Pss of {pid}")


def switches(pid: int) -> dict[str, int]:
    """How often each of its threads has gone to sleep so far, and was woken."""
    found = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found[f"{pid}/{status.parent.name}"] = int(line.split()[1])
    return found


def more(before: dict[str, int], after: dict[str, int]) -> int:
    """Of the threads that are there at the end; one that ended meanwhile took its count along."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


seconds, units = float(sys.argv[1]), sys.argv[2:]
pids = {unit: processes(unit) for unit in units}
before = {unit: [switches(pid) for pid in pids[unit]] for unit in units}
time.sleep(seconds)  # this is what is measured: nothing happens
print(
    json.dumps(
        {
            unit: {
                "pss": sum(map(pss, pids[unit])) / 1024,
                "wakeups": sum(map(more, before[unit], map(switches, pids[unit]))) / seconds,
            }
            for unit in units
        }
    )
)
