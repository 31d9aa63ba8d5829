"""The examples that need a kernel of their own, or its modules: each is applied, has its effect, and is undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.machine.machine import Machine
from tests.machine.waiting import wait_until

EXAMPLES = "/root/k8s/examples"
PROC = "/proc/tambourine/local"
PATIENCE = "900"  # seconds, as an option: to build a policy takes an emulated processor minutes


@contextmanager
def applied(machine: Machine, example: str, name: str) -> Iterator[None]:
    """Apply the example until it is ready; afterwards its unit and its files are gone."""
    machine.run("tambourine", "apply", "-f", f"{EXAMPLES}/{example}.yaml", "--timeout", PATIENCE)
    try:
        yield
    finally:
        machine.run("tambourine", "delete", name, "--timeout", PATIENCE)
    assert machine.run("systemctl", "cat", f"{name}.service", check=False).returncode != 0


def conditions(machine: Machine, name: str) -> dict[str, tuple[str, str, str]]:
    """Of a service's status: by type, its status, reason and message."""
    found = json.loads(machine.run("cat", f"{PROC}/{name}/status.json").stdout)
    return {
        c["type"]: (c["status"], c.get("reason", ""), c.get("message", ""))
        for c in found["conditions"]
    }


def reads_shadow(machine: Machine) -> bool:
    """Whether a process under the example's AppArmor profile may read the passwords."""
    return not machine.run(
        "aa-exec", "--profile=example-reader", "cat", "/etc/shadow", check=False
    ).returncode


def test_apparmor_confines_and_the_profile_goes(machine: Machine) -> None:
    loaded = "/sys/kernel/security/apparmor/profiles"
    with applied(machine, "apparmor", "apparmor-profiles"):
        assert "example-reader (enforce)\n" in machine.run("cat", loaded).stdout
        assert not reads_shadow(machine)
        assert (
            machine.run("aa-exec", "--profile=example-reader", "cat", "/etc/hostname").stdout
            == "machine\n"
        )
    assert "example-reader" not in machine.run("cat", loaded).stdout
    assert machine.run("ls", "/etc/apparmor.d/example-reader", check=False).returncode != 0


def test_ebpf_counts_packets_and_is_freed(machine: Machine) -> None:
    def programs() -> list[str]:
        return [
            p.get("name", "")
            for p in json.loads(machine.run("bpftool", "--json", "prog", "list").stdout)
        ]

    def packets() -> int:
        dump = [
            "bpftool",
            "--json",
            "map",
            "dump",
            "pinned",
            "/sys/fs/bpf/packet-counter/egress_bss",
        ]
        value = json.loads(machine.run(*dump).stdout)[0]["value"]
        return int.from_bytes(bytes(int(byte, 16) for byte in value[:8]), "little")

    assert "count" not in programs()
    with applied(machine, "ebpf", "packet-counter"):
        assert "count" in programs()
        before = packets()
        machine.run("true")  # its answer leaves the machine by the wire
        assert packets() > before
    assert "packet-counter" not in machine.run("ls", "/sys/fs/bpf").stdout
    wait_until(lambda: "count" not in programs(), 240, "the kernel frees the program")


def test_zfs_has_a_pool_while_the_service_is_there(machine: Machine) -> None:
    file = "/var/lib/alice-zfs/data/written"
    with applied(machine, "zfs", "alice-zfs"):
        assert machine.run("zpool", "list", "-H", "-o", "name,health").stdout == "alice\tONLINE\n"
        assert machine.run("findmnt", "-no", "FSTYPE", "/var/lib/alice-zfs/data").stdout == "zfs\n"
        machine.run("sh", "-c", f"echo kept >{file}")
        limit = machine.run("cat", "/sys/module/zfs/parameters/zfs_arc_max").stdout
        assert limit == "1073741824\n", (
            "the file for modprobe was laid down before the module was loaded"
        )
    assert machine.run("zpool", "list", "-H").stdout == ""
    assert machine.run("ls", "/etc/modprobe.d/alice-zfs.conf", check=False).returncode != 0
    # The pool is exported; its data stays and comes back with the service.
    with applied(machine, "zfs", "alice-zfs"):
        assert machine.run("cat", file).stdout == "kept\n"
    assert machine.run("zpool", "list", "-H").stdout == ""


def test_falco_says_what_is_missing_and_its_unit_is_verified(machine: Machine) -> None:
    """Falco is in no archive here: it was not run."""
    machine.run(
        "tambourine", "apply", "-f", f"{EXAMPLES}/falco.yaml", "--timeout", PATIENCE, check=False
    )
    try:
        assert machine.run("ls", "/usr/bin/falco", check=False).returncode != 0
        found = conditions(machine, "falco-node")
        assert found["Accepted"][0] == "True"
        assert found["Applied"][0] == "True"
        assert found["Ready"][:2] == ("False", "ConditionNotMet")
        assert "ConditionFileIsExecutable=/usr/bin/falco" in found["Ready"][2]
        # The kernel has what the modern driver asks for: only the program is missing.
        assert machine.run("ls", "/sys/kernel/btf/vmlinux").stdout
    finally:
        machine.run("tambourine", "delete", "falco-node", "--timeout", PATIENCE)
