"""1,000 services installed and started, beside the fewest calls that a script needs, and beside Ansible."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.bench.figures import Claim, Row, figure
from tests.bench.inside import manifests
from tests.bench.rivals import need

if TYPE_CHECKING:
    from tests.lab.hosts import Host

COUNT, ANSIBLE = 1000, 100
UNIT = "[Unit]\nDescription=Bench\n[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
SCRIPT = """
from pathlib import Path
import subprocess, sys
names = [f"{sys.argv[1]}-{n}.service" for n in range(int(sys.argv[2]))]
for name in names:
    Path("/etc/systemd/system", name).write_text(sys.argv[3])
subprocess.run(["systemctl", "daemon-reload"], check=True)
subprocess.run(["systemctl", "enable", "--now", *names], check=True)
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: unit files
      ansible.builtin.copy:
        dest: "/etc/systemd/system/ansible-{{{{ item }}}}.service"
        content: {unit}
      loop: "{{{{ range({count}) | list }}}}"
    - name: enabled and started
      ansible.builtin.systemd:
        name: "ansible-{{{{ item }}}}.service"
        enabled: true
        state: started
        daemon_reload: "{{{{ item == 0 }}}}"
      loop: "{{{{ range({count}) | list }}}}"
"""


def prepare() -> None:
    """The rival, installed."""
    need("ansible-playbook", "ansible-core")


def measure(host: Host) -> Row:
    playbook = need("ansible-playbook", "ansible-core")
    by_hand = timed(
        lambda: host.run("python3", "-c", SCRIPT, "hand", str(COUNT), UNIT, timeout=1200)
    )
    check_running(host, "hand", COUNT)
    clear(host, "hand")
    text = manifests("ours", COUNT)
    ours = timed(
        lambda: host.run(
            "tambourine", "apply", "-f", "-", "--timeout", "20m", input=text, timeout=1500
        )
    )
    check_running(host, "ours", COUNT)
    host.run("tambourine", "delete", "-f", "-", "--timeout", "20m", input=text, timeout=1500)
    ansible = timed(lambda: run_ansible(host, playbook)) * COUNT / ANSIBLE
    check_running(host, "ansible", ANSIBLE)
    return Row(
        "thousand",
        "1,000 services installed and started",
        (
            figure("tambourine apply", [ours]),
            figure("copy, one reload, one enable --now", [by_hand]),
            figure(f"Ansible, {ANSIBLE} scaled to {COUNT}", [ansible]),
        ),
        (
            Claim("times as long as by hand", ours / by_hand, 3, at_least=False),
            Claim("times faster than Ansible", ansible / ours, 10, at_least=True),
        ),
        "one run each; Ansible runs inside the host, without ssh, and was measured on 100",
    )


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def run_ansible(host: Host, playbook: str) -> None:
    text = PLAYBOOK.format(unit=json.dumps(UNIT), count=ANSIBLE)
    host.run("sh", "-c", "cat > /root/bench.yaml", input=text)
    host.run(
        "env", "HOME=/root", "LC_ALL=C.UTF-8", "ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3",
        playbook, "-c", "local", "-i", "localhost,", "/root/bench.yaml", timeout=1500,
    )  # fmt: skip


def check_running(host: Host, prefix: str, count: int) -> None:
    listed = host.run(
        "systemctl", "list-units", "--plain", "--no-legend", "--state=running", f"{prefix}-*"
    )
    assert len(listed.stdout.splitlines()) == count, (
        f"{prefix}: {len(listed.stdout.splitlines())} run"
    )


def clear(host: Host, prefix: str) -> None:
    host.run("systemctl", "stop", f"{prefix}-*", timeout=600)
    host.run(
        "sh",
        "-c",
        f"cd /etc/systemd/system && rm -f {prefix}-*.service multi-user.target.wants/{prefix}-*",
    )
    host.run("systemctl", "daemon-reload")
