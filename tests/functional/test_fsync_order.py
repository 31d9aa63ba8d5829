"""The order of flushes and renames, as the kernel was asked for them (strace): where a power cut on ext4 could not tell.

One fsync on ext4 brings the whole journal with it, so that a missing one of a directory often does no harm there; the
promise is POSIX's. Every flush that docs/durability.md lists for these calls stands in exactly one place below.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CALLS = "fsync,fdatasync,syncfs,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,symlink,symlinkat"
_TEMPORARY = re.compile(r"\.(tambourine|pki)[a-z-]*-[0-9a-f]{16}")
_STORE = """
from tambourinefs.agent.state.store import Store
from tambourinefs.agent.state.record import Record
store = Store(root / "state")
"""
_FILES = (
    _STORE
    + """
import hashlib
from tambourinefs.agent.host.content import Target
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.state.record import Original
(root / "etc").mkdir()
host = HostFiles(root, store)
def target(path):
    return Target(path, "file", hashlib.sha256(b"x").hexdigest(), 0o644, "0", "0", b"x")
"""
)
_RENEWAL = """
import threading
from tambourinefs.kube import csr
from tambourinefs.rpc import pki
from tambourinefs.sync.identity import Identity
pki.init(root / 'pki', owners=pki.Owners())
pem = (root / 'pki/client.crt').read_bytes()
csr.request = lambda *a, **k: pem
"""
_JOINING = """
from tambourinefs.install import host
from tambourinefs.model import paths
paths.IDENTITY = str(root / 'node.pem')
paths.SYNC_USER = paths.GROUP = 'root'
"""
_KEPT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # sha256 of "test"

CASES = {
    "Store: a new state directory": (
        "from tambourinefs.agent.state.store import Store",
        "Store(root / 'state')",
        [
            "mkdir state", "fsync .", "fsync state/TMP", "rename state/TMP state/version", "fsync state",
            "mkdir state/services", "mkdir state/originals", "fsync state",
        ],
    ),
    "Store.accept_silo": (
        _STORE,
        "store.accept_silo('uuid')",
        ["fsync state/TMP", "rename state/TMP state/silo", "fsync state"],
    ),
    "Store.save: a few": (
        _STORE,
        "store.save([Record('local', 'a', 'a.service')])",
        ["fsync state/services/TMP", "rename state/services/TMP state/services/local_a.json", "fsync state/services"],
    ),
    "Store.save: many": (
        _STORE,
        "store.save([Record('local', n, 'a.service') for n in 'abcde'])",
        [
            "syncfs state/services",
            *(f"rename state/services/TMP state/services/local_{n}.json" for n in "edcba"),
            "fsync state/services",
        ],
    ),
    "Store.forget": (
        _STORE + "store.save([Record('local', 'a', 'a.service')])",
        "store.forget([('local', 'a')])",
        ["unlink state/services/local_a.json", "fsync state/services"],
    ),
    "Store.keep": (
        _STORE + "import os; (root / 'f').write_text('test'); fd = os.open(root / 'f', os.O_RDONLY)",
        "store.keep(fd)",
        [
            "fsync state/originals/TMP", f"rename state/originals/TMP state/originals/{_KEPT}",
            "fsync state/originals",
        ],
    ),
    "HostFiles.write: a few, in a new directory": (
        _FILES,
        "host.write([(target('/etc/d/f'), -1)])",
        ["mkdir etc/d", "fsync etc", "fsync etc/d/TMP", "rename etc/d/TMP etc/d/f", "fsync etc/d"],
    ),
    "HostFiles.write: many": (
        _FILES,
        "host.write([(target(f'/etc/{n}'), -1) for n in range(5)])",
        ["syncfs etc", *(f"rename etc/TMP etc/{n}" for n in range(5)), "fsync etc"],
    ),
    "HostFiles.restore: nothing was there": (
        _FILES + "host.write([(target('/etc/f'), -1)])",
        "host.restore('/etc/f', Original())",
        ["unlink etc/f", "fsync etc"],
    ),
    "HostFiles.restore: a file was there": (
        _FILES + "(root / 'etc/f').write_text('test'); was = host.capture('/etc/f')",
        "host.restore('/etc/f', was)",
        ["fsync etc/TMP", "rename etc/TMP etc/f", "fsync etc"],
    ),
    "HostFiles.restore: a link was there": (
        _FILES + "(root / 'etc/f').symlink_to('x'); was = host.capture('/etc/f')",
        "host.restore('/etc/f', was)",
        ["symlink etc/TMP", "rename etc/TMP etc/f", "fsync etc"],
    ),
    "HostFiles.remove_directories": (
        _FILES + "(root / 'etc/d').mkdir()",
        "host.remove_directories(['/etc/d'])",
        ["rmdir etc/d", "fsync etc"],
    ),
    "install.put": (
        "from tambourinefs.install import place, plan; plan.Changes.note = lambda self: None",
        "place.put(root / 'f', b'x', plan.Changes(plan.Ledger(root / 'none')))",
        ["fsync .f.new", "rename .f.new f", "fsync ."],
    ),
    "install.link": (
        "from tambourinefs.install import place, plan; plan.Changes.note = lambda self: None",
        "place.link(root / 'f', root / 'to', plan.Changes(plan.Ledger(root / 'none')))",
        ["symlink .f.new", "rename .f.new f", "fsync ."],
    ),
    "the ledger of the installation": (
        "from tambourinefs.install.ledger import Ledger; ledger = Ledger(root / 'install.json')",
        "ledger.add('/x')",
        ["fsync TMP", "rename TMP install.json", "fsync ."],
    ),
    "pki: one file": (
        "from tambourinefs.rpc import pki",
        "pki._write(root, 'ca.key', b'x', 0o600)",
        ["fsync TMP", "rename TMP ca.key", "fsync ."],
    ),
    "sync: a renewed identity of the node": (
        _RENEWAL,
        "Identity(None, 'n', root / 'node.pem', threading.Event())._renew(threading.Event())",
        ["fsync TMP", "rename TMP node.pem", "fsync ."],
    ),
    "Identity._write_expiration": (
        _RENEWAL + "(root / 'node.pem').write_bytes(pem)\n",
        "Identity(None, 'n', root / 'node.pem', threading.Event())._write_expiration()",
        ["fsync TMP", "rename TMP expirations.json", "fsync ."],
    ),
    "install.lay_identity: of a node that joined": (
        _JOINING,
        "host.lay_identity(b'x')",
        ["fsync TMP", "rename TMP node.pem", "fsync ."],
    ),
    "silo: a new store": (
        "from tambourinefs.silo.store import open_store",
        "open_store(root / 'store', owner=None)",
        [
            "mkdir store", "fsync .", "fsync store/TMP", "rename store/TMP store/uuid", "fsync store",
            "mkdir store/tree", "fsync store",
        ],
    ),
}  # fmt: skip


def asked(root: Path, before: str, call: str) -> list[str]:
    """What the kernel was asked for between two marks, with paths relative to `root`."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    code = (
        "import sys\nfrom pathlib import Path\nroot = Path(sys.argv[1])\n"
        f"{before}\n(root / 'BEGIN').mkdir()\n{call}\n(root / 'END').mkdir()\n"
    )
    trace = root.parent / "trace"
    subprocess.run(
        ["strace", "-f", "-y", "-s", "4096", "-o", trace, "-e", f"trace={_CALLS}", sys.executable, "-c", code, root],
        check=True,
    )  # fmt: skip
    events = [event for line in trace.read_text().splitlines() if (event := parse(line, root))]
    return events[events.index("mkdir BEGIN") + 1 : events.index("mkdir END")]


def parse(line: str, root: Path) -> str:
    """One line of strace as "call path [path]"; "" for what is not below the root."""
    found = re.match(r"\d+ +(\w+)\((.*)\) += (\d+)", line)  # what failed changed nothing
    if found is None:
        return ""
    name, arguments, _ = found.groups()
    paths: list[str] = []
    directory = ""
    for fd_path, text in re.findall(r"(?:AT_FDCWD|\d+)<([^>]*)>|\"([^\"]*)\"", arguments):
        if fd_path:
            directory = fd_path
            if name in {"fsync", "fdatasync", "syncfs"}:
                paths.append(fd_path)
        else:
            paths.append(str(Path(directory, text)))
    if name.startswith("symlink"):
        paths = paths[-1:]
    if not paths or not all(path == str(root) or path.startswith(f"{root}/") for path in paths):
        return ""
    name = "rmdir" if "AT_REMOVEDIR" in arguments else re.sub(r"at2?$", "", name)
    shown = (str(Path(path).relative_to(root)) for path in paths)
    return " ".join([name, *(_TEMPORARY.sub("TMP", path) for path in shown)])


@pytest.mark.parametrize("case", CASES)
def test_flushes_stand_where_the_promise_needs_them(case: str, disk_directory: Path) -> None:
    before, call, expected = CASES[case]
    root = disk_directory / "root"
    root.mkdir()
    assert asked(root, before, call) == expected
