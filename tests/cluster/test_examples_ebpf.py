"""The eBPF example: its object is what its source says, it counts, and nothing of it stays in the kernel."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import yaml

from tests.cluster import examples
from tests.cluster.world import Cluster
from tests.lab.hosts import Host

PINS = "/sys/fs/bpf/packet-counter"
SEND = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(100):
        sender.sendto(bytes(1000), ("127.0.0.1", 9))
"""


def _files() -> dict[str, dict[str, str]]:
    spec = yaml.safe_load(examples.path("ebpf").read_text())["spec"]
    return {Path(file["path"]).name: file for file in spec["files"]}


def _said(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _content(file: Path) -> tuple[str, str]:
    """The instructions with what the loader fills in, and every section that reaches the kernel."""
    code = _said("bpf-objdump", "--disassemble", "--reloc", file)
    kept = _said("bpf-objdump", "--full-contents", "--section=license", "--section=cgroup_skb/egress", file)  # fmt: skip
    sizes = _said("bpf-readelf", "--symbols", "--wide", file)
    [counted] = [line.split()[2:5] for line in sizes.splitlines() if line.endswith(" counted")]
    return code.partition("Disassembly")[2] + kept.partition("Contents")[2], " ".join(counted)


def test_the_object_is_what_its_source_compiles_to(tmp_path: Path) -> None:
    shipped = tmp_path / "egress.o"
    shipped.write_bytes(base64.b64decode("".join(_files()["egress.o"]["contentBase64"].split())))
    source = tmp_path / "egress.c"
    source.write_text(_files()["egress.c"]["content"])
    made = tmp_path / "made.o"
    _said("bpf-gcc", "-O2", "-c", source, "-o", made)
    assert _content(made) == _content(shipped)
    source.write_text(source.read_text().replace("return 1;", "return 0;"))
    _said("bpf-gcc", "-O2", "-c", source, "-o", made)
    assert _content(made) != _content(shipped), "the comparison cannot fail"


def _counted(host: Host) -> tuple[int, int]:
    """Packets and bytes, from the pinned map."""
    shown = host.run("bpftool", "--json", "map", "dump", "pinned", f"{PINS}/egress_bss").stdout
    value = bytes(int(byte, 16) for byte in json.loads(shown)[0]["value"])
    return int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little")


def _id(host: Host, kind: str, name: str) -> str:
    shown = host.run("bpftool", "--json", kind, "show", "pinned", f"{PINS}/{name}").stdout
    return str(json.loads(shown)["id"])


def test_it_counts_and_nothing_of_it_stays_in_the_kernel(cluster: Cluster) -> None:
    ids = {}
    with examples.applied(cluster, "ebpf"):
        for host in cluster.hosts:
            before = _counted(host)
            host.run("python3", "-c", SEND)
            packets, size = (now - then for now, then in zip(_counted(host), before, strict=True))
            assert packets >= 100
            assert size >= 100 * 1028
            ids[host.name] = (_id(host, "prog", "count"), _id(host, "map", "egress_bss"))
    for host in cluster.hosts:
        for kind, number in zip(("prog", "map"), ids[host.name], strict=True):
            _wait_freed(cluster, host, kind, number)


def _wait_freed(cluster: Cluster, host: Host, kind: str, number: str) -> None:
    """The kernel frees them a moment after the last one who holds them."""
    cluster.wait(
        lambda: host.run("bpftool", kind, "show", "id", number, check=False).returncode != 0,
        f"{kind} {number} to be gone from the kernel",
    )
