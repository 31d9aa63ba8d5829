"""A real control plane's programs: taken from PATH, or built once from Go modules into a cache outside the tree.

No registry has kube-apiserver as a program. It builds from its modules in some minutes; the cache is keyed by what
go.mod and go.sum say, so that another version is another directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.lab.layer import cache
from tests.lab.tools import LabError, say, which

SOURCE: Final = Path(__file__).with_name("kubernetes")
# program: the Go package that it is built from, in the order in which they share most of their work
PROGRAMS: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
GO_PLACES: Final = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
OLDEST_GO: Final = (1, 21)  # fetches by itself the toolchain that go.mod asks for


def programs() -> Path:
    """The directory that holds the four programs. Builds them where they are not: about five minutes on two cores.

    Raises LabError where there is no Go to build with.
    """
    if directory := _on_path():
        return directory
    directory = cache() / f"kubernetes-{_key()}"
    if directory.is_dir():
        return directory
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            _build(directory)
    return directory


def _on_path() -> Path | None:
    """The directory on PATH that has all four programs, so of one version."""
    server = which("kube-apiserver")
    if server is None:
        return None
    directory = Path(server).parent
    return directory if all((directory / name).exists() for name in PROGRAMS) else None


def _key() -> str:
    content = b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum"))
    return f"{_version()}-{hashlib.sha256(content).hexdigest()[:12]}"


def _version() -> str:
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    assert found is not None, "go.mod requires k8s.io/kubernetes"
    return found[1]


def _build(directory: Path) -> None:
    go = _go()
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    say(
        f"building Kubernetes {_version()} and etcd from Go modules (once, about five minutes; kept in {cache()})"
    )
    for name, package in PROGRAMS.items():
        begun = time.monotonic()
        _compile(go, package, partial / name)
        say(f"  {name}: {time.monotonic() - begun:.0f} s")
    partial.rename(directory)


def _compile(go: str, package: str, program: Path) -> None:
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={_version()}"
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags", flags, "-o", str(program), package],
        cwd=SOURCE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        # Debian's Go is set not to fetch the release that go.mod asks for; ours must where it is older.
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "auto"},
    )
    if done.returncode != 0:
        raise LabError(f"go build {package}: {done.stderr.strip()[-2000:]}")


def _go() -> str:
    """A Go that is new enough, from PATH or where its makers and Debian put it; LabError without one."""
    older = []
    for go in dict.fromkeys(filter(None, [shutil.which("go"), *GO_PLACES])):
        if not Path(go).exists():
            continue
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True)
        version = re.match(r"go(\d+)\.(\d+)", said.stdout)
        if version is not None and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return go
        older.append(f"; {go} is {said.stdout.strip()}")
    raise LabError(
        "building the control plane needs Go 1.21 or later: run tests/bootstrap, or put etcd, kube-apiserver, "
        f"kube-controller-manager and kubectl on PATH{''.join(older)}"
    )
