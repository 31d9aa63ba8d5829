"""The package on a host that will not do, over other people's files, on a full disk, killed anywhere: dpkg unpacks nothing,
or gets to the end when it is run again; what was installed there without a package stays, or is put back.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tambourinefs.model import formats
from tests.daemons import DAEMONS
from tests.e2e.chain import answers, apply, pids, wait_answering
from tests.e2e.test_package import APT, bring, prepare
from tests.lab import package
from tests.lab.hosts import Host

OTHERS = "/var/cache/others"
# A proc with a directory of our name, which the real one has with our module alone.
PROC = (
    "mkdir -p /var/cache/proc && mount --bind /proc /var/cache/proc && mount -t tmpfs none /proc"
    " && ln -s /var/cache/proc/self /proc/self && mkdir /proc/tambourine"
    " && mount -t tmpfs stranger /proc/tambourine"
)


def over(path: str, text: str) -> str:
    """The command that lets a file show another text."""
    return f"printf '%s\\n' '{text}' >{OTHERS} && mount --bind {OTHERS} {path}"


# What is wrong with a host that has an installation from a tree, as a command that makes it so in a mount namespace of its
# own; and what the person is told, the second time what to do.
BAD = {
    "no FUSE": (
        (
            "mkdir -p /var/cache/dev && mount -t tmpfs none /var/cache/dev && cp -a /dev/null /dev/urandom /var/cache/dev"
            " && mount --bind /var/cache/dev /dev"
        ),
        "/dev/fuse is missing",
        "modprobe fuse",
    ),
    "/etc is read-only": (
        "mount --bind /etc /etc && mount -o remount,ro,bind /etc",
        "/etc is read-only",
        "mount -o remount,rw /etc",
    ),
    "/usr is read-only": (
        "mount --bind /usr /usr && mount -o remount,ro,bind /usr",
        "/usr is read-only",
        "mount -o remount,rw /usr",
    ),
    "the statuses' place is taken": (
        "mount -t tmpfs stranger /run/tambourine/proc",
        "/run/tambourine/proc is a mount point of Tambourine, and tmpfs stranger is mounted there",
        "umount /run/tambourine/proc",
    ),
    "the literal place is taken": (
        PROC,
        "/proc/tambourine is a mount point of Tambourine, and tmpfs stranger is mounted there",
        "umount /proc/tambourine",
    ),
    "a foreign /opt/tambourine": (
        "mount -t tmpfs none /opt && mkdir -p /opt/tambourine/bin && touch /opt/tambourine/bin/mine",
        "/opt/tambourine is there and not ours: it is kept",
        "move it away",
    ),
    "services of a later version": (
        over("/var/lib/tambourine/agent/version", str(formats.APPLIED + 1)),
        f"/var/lib/tambourine/agent has version {formats.APPLIED + 1}, written by a later Tambourine",
        "install the version that wrote it",
    ),
    "an installation of a later version": (
        over("/var/lib/tambourine/install.json", '{\n "version": 9,\n "made": []\n}'),
        "/var/lib/tambourine/install.json has version 9, written by a later Tambourine",
        "install the version that wrote it",
    ),
}
# One of each kind that the package has, and how another owner's comes there.
PLACES = {
    "/usr/bin/tambourine": "echo mine >",
    "/lib/systemd/system/tambourine.service": "echo '# mine' >",
    "/usr/lib/tmpfiles.d/tambourine.conf": "ln -s /nowhere",
    "/usr/share/man/man1/tambourine.1.gz": "mkdir",
}
# Runs a command in a session of its own until a path is there, or a line is printed; then all of the session is killed. Ends
# with 0 where it was.
KILLED = """\
import contextlib, os, signal, subprocess, sys, tempfile, time
when, *argv = sys.argv[1:]
said = tempfile.NamedTemporaryFile()
process = subprocess.Popen(argv, start_new_session=True, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

def session():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == process.pid:
                yield int(pid)
        except ProcessLookupError:
            pass

def due():
    return os.path.lexists(when) if when.startswith("/") else when in open(said.name, errors="replace").read()

while process.poll() is None and not due():
    time.sleep(0.002)
alive = process.poll() is None
while found := list(session()):
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)
    process.poll()
print(open(said.name, errors="replace").read(), process.wait())
sys.exit(0 if alive or process.returncode == -signal.SIGKILL else 1)
"""


BEFORE, AFTER = "", 'command -p "${0##*/}" "$@"; '


@contextmanager
def killers(host: Host, *programs: tuple[str, str]) -> Iterator[list[str]]:
    """A PATH for each, on which that program kills the process group of who calls it, before or after its work."""
    directories = []
    for number, (program, work) in enumerate(programs):
        directories.append(f"/var/cache/kill-{number}")
        lay = f"mkdir {directories[-1]}; cd {directories[-1]}; cat >{program}; chmod +x {program}"
        host.run("sh", "-c", lay, input=f"#!/bin/sh\n{work}kill -KILL 0\n")
    yield [f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin" for directory in directories]
    host.run("rm", "-r", *directories)


@pytest.fixture(scope="module")
def file() -> Path:
    (found,) = package.packages().glob("tambourine_*.deb")
    return found


@pytest.fixture(scope="module")
def copied() -> dict[Path, str]:
    """The package's place on a host, by the host's directory."""
    return {}


@pytest.fixture
def deb(file: Path, own_host: Host, copied: dict[Path, str]) -> str:
    """The package on a host with an installation from a tree, which the last of these tests ends."""
    host = own_host.state.directory
    if host not in copied:
        prepare(own_host)
        copied[host] = bring(own_host, file)
    return copied[host]


def ours_and_others(host: Host) -> str:
    """All files in the places of an installation, but for dpkg's own records and what Python compiled."""
    return host.run(
        "find", "/etc", "/opt", "/usr/bin", "/usr/sbin", "/usr/lib/systemd", "/usr/lib/tmpfiles.d", "/usr/lib/sysusers.d",
        "/usr/share/man", "/var/lib", "(", "-path", "/var/lib/dpkg", "-o", "-path", "/var/lib/systemd", "-o", "-name",
        "__pycache__", ")", "-prune", "-o", "-type", "d", "-printf", "%p %m\n", "-o", "-printf", "%p %m %s\n",
    ).stdout  # fmt: skip


def known(host: Host) -> str:
    """What dpkg knows of the package: "" before the first try and after one that was refused."""
    argv = ("dpkg-query", "--show", "--showformat=${db:Status-Status}", "tambourine")
    return host.run(*argv, check=False).stdout.removeprefix("not-installed")


@pytest.mark.parametrize("case", BAD)
def test_a_host_that_will_not_do_is_told_why_before_anything_is_unpacked(
    own_host: Host, deb: str, case: str
) -> None:
    make, why, do = BAD[case]
    before = ours_and_others(own_host)
    script = f"{make} || exit 99; exec dpkg --install {deb}"
    done = own_host.run("unshare", "--mount", "sh", "-c", script, check=False)
    own_host.run("rm", "-rf", "/var/cache/dev", "/var/cache/proc", OTHERS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"tambourine: {why}" in done.stderr
    assert f"tambourine: {do}" in done.stderr
    assert known(own_host) == ""
    assert ours_and_others(own_host) == before


def test_a_file_of_somebody_elses_at_any_place_of_the_package_is_kept_and_named(
    own_host: Host, deb: str
) -> None:
    before = ours_and_others(own_host)
    for place, make in PLACES.items():
        own_host.run("sh", "-c", f"{make} {place}")
        shown = own_host.run("ls", "-ld", place).stdout
        done = own_host.run("dpkg", "--install", deb, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"tambourine: {place} is there and not ours: it is kept" in done.stderr
        assert own_host.run("ls", "-ld", place).stdout == shown
        own_host.run("rm", "-r", place)
        assert known(own_host) == ""
    assert ours_and_others(own_host) == before
    assert answers(own_host)


def test_preinst_looks_at_every_place_that_the_package_brings(file: Path) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(file)], check=True, capture_output=True, text=True
    ).stdout
    brought = {
        line.split(" ./")[1].split(" -> ")[0] for line in listed.splitlines() if line[0] != "d"
    }
    script = subprocess.run(
        ["dpkg-deb", "--info", str(file), "preinst"], check=True, capture_output=True, text=True
    ).stdout
    looked = set(re.findall(r"^(?:[0-9a-f]{64}|link:\S+) /(.*)$", script, re.MULTILINE))
    assert looked == {path for path in brought if not path.startswith("opt/tambourine/")}
    assert {place[1:] for place in PLACES} <= looked
    assert not re.search(r"#[A-Z]+#", script)


def test_on_a_disk_that_fills_up_what_was_there_is_put_back(own_host: Host, deb: str) -> None:
    """Before and after what was there is moved away all is killed, and dpkg run again."""
    before = ours_and_others(own_host)
    with killers(own_host, ("mv", BEFORE), ("mv", AFTER)) as paths:
        script = (
            "mount -t tmpfs -o size=30M none /opt && mkdir -p /opt/tambourine/bin"
            " && touch /opt/tambourine/.installed /opt/tambourine/pyvenv.cfg /opt/tambourine/bin/tambourine || exit 99\n"
            + "".join(
                f"setsid --wait env PATH={path} dpkg --install {deb}\necho $?\n" for path in paths
            )
            + f"ls -A /opt; dpkg --install {deb}; echo $?; find /opt -mindepth 1"
        )
        done = own_host.run("unshare", "--mount", "sh", "-c", script)
    said = [line for line in done.stdout.splitlines() if line[0] in "./0123456789"]
    assert said[:4] == ["137", "137", ".tambourine-replaced", "1"], done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    left = (".installed", "pyvenv.cfg", "bin", "bin/tambourine")
    assert set(said[4:]) == {"/opt/tambourine", *(f"/opt/tambourine/{name}" for name in left)}
    own_host.run("dpkg", "--remove", "--force-remove-reinstreq", "tambourine")
    assert known(own_host) == ""
    assert ours_and_others(own_host) == before


def test_killed_anywhere_and_run_again_and_where_no_systemd_runs_the_next_boot_starts_it(
    own_host: Host, deb: str, file: Path
) -> None:
    host = own_host
    apply(host, "steady")
    running = pids(host, "steady.service")
    unpacked = subprocess.run(
        ["dpkg-deb", "--contents", str(file)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    files = [line.split(" ./")[1] for line in unpacked if line[0] == "-"]

    def killed(when: str, *argv: str) -> None:
        done = host.run("/usr/bin/python3", "-c", KILLED, when, *argv, check=False, timeout=120)
        assert done.returncode == 0, f"not killed at {when}: {done.stdout}{done.stderr}"

    dpkg, again = ("dpkg", "--install", deb), ("dpkg", "--configure", "--pending")
    with killers(host, ("readlink", BEFORE), ("find", BEFORE), ("find", AFTER)) as paths:
        for path in paths:
            killed("/never", "env", f"PATH={path}", *dpkg)
            assert known(host) == "half-installed"
    # During unpacking; while unpacked files are put into place.
    killed(f"/{files[len(files) // 8]}.dpkg-new", *dpkg)
    killed(f"/{files[0]}", *dpkg)
    assert known(host) == "half-installed"
    assert pids(host, "steady.service") == running
    # During postinst.
    host.run(*again)  # apt wants it first; for what is half installed it does nothing
    killed("group tambourine, users", *APT, "install", deb)
    killed("cluster:", *again)
    killed("services:", *again)
    assert known(host) != "installed"
    assert pids(host, "steady.service") == running
    script = f"mount -t tmpfs none /run && {' '.join(again)}"
    done = host.run("unshare", "--mount", "sh", "-c", script)
    assert (
        "systemd does not run here. When this boots, it makes its certificates and starts"
        in done.stdout
    )
    assert known(host) == "installed"
    assert not re.search(r"\.dpkg-new|\.tambourine-replaced", ours_and_others(host))
    host.reboot()
    wait_answering(host)
    shown = host.run("systemctl", "show", "--property=FragmentPath", *DAEMONS).stdout
    assert shown.count("FragmentPath=/") == len(DAEMONS)
    assert "/usr/local" not in shown
    apply(host, "after-all")
