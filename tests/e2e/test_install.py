"""`tambourine install`: twice is once, a kill anywhere is no harm, the administrator's changes stay."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.daemons import DAEMONS
from tests.e2e import leaving
from tests.e2e.chain import answers, apply, pids, wait_answering, wait_until
from tests.e2e.install_page import follow
from tests.lab.hosts import Host
from tests.lab.tree import PREFIX, SOURCE, WHEELS

INSTALL = (
    "env",
    f"PYTHONPATH={SOURCE}",
    "/usr/bin/python3",
    "-m",
    "tambourinefs.install",
    "--wheelhouse",
    WHEELS,
)
KEPT = "/mnt/kept"
STEPS = 11
REMOVAL_STEPS = 10


def everything(host: Host) -> str:
    """Each file of Tambourine on the host, with mode, owner, size and time of change."""
    places = (
        "/opt/tambourine",
        "/etc/tambourine",
        "/etc/systemd",
        "/usr/local",
        "/etc/passwd",
        "/etc/group",
    )
    return host.run(
        "find",
        *places,
        "-not",
        "-name",
        "*.pyc",
        "-not",
        "-name",
        "__pycache__",
        "-printf",
        "%p %m %u %g %s %T@\n",
    ).stdout


def test_twice_is_once(own_host: Host) -> None:
    before, running = everything(own_host), pids(own_host, *DAEMONS)
    done = own_host.run(*INSTALL)
    assert done.stdout.count("as it should be") == STEPS - 1
    assert everything(own_host) == before
    assert pids(own_host, *DAEMONS) == running


def test_users_have_their_numbers(host: Host) -> None:
    assert host.run("id", "bombshell").stdout.startswith(
        "uid=61000(bombshell) gid=61000(tambourine)"
    )


def test_a_changed_configuration_is_kept(own_host: Host) -> None:
    as_made = own_host.run("cat", "/etc/tambourine/config.toml").stdout
    own_host.run("sh", "-c", "echo '# mine' >>/etc/tambourine/config.toml")
    said = own_host.run(*INSTALL, "--allow-namespace", "storage").stdout
    assert "kept as you changed it" in said
    assert own_host.run("tail", "-n1", "/etc/tambourine/config.toml").stdout == "# mine\n"
    assert '"storage"' in own_host.run("tambourine", "config").stdout
    own_host.run("sh", "-c", "cat >/etc/tambourine/config.toml", input=as_made)


def test_the_installed_command_allows_one_namespace_more(own_host: Host) -> None:
    def allowed() -> list[str]:
        found = json.loads(own_host.run("tambourine", "config", "--json").stdout)
        return list(found["agent.namespaces"]["value"])

    apply(own_host, "steady")
    service = pids(own_host, "steady.service")
    before = allowed()
    for namespace in ("disks", "network"):
        own_host.run("tambourine", "install", "--allow-namespace", namespace)
    assert allowed() == [*before, "disks", "network"]
    assert pids(own_host, "steady.service") == service
    assert answers(own_host)
    nothing = own_host.run("tambourine", "install", check=False)
    assert nothing.returncode == 1
    assert "no source to install from" in nothing.stderr


def test_a_broken_configuration_is_refused_and_what_runs_goes_on(own_host: Host) -> None:
    running = pids(own_host, *DAEMONS)
    own_host.run("sh", "-c", "echo 'nonsense = 1' >/etc/tambourine/config.d/90-mine.toml")
    done = own_host.run(*INSTALL, check=False)
    own_host.run("rm", "/etc/tambourine/config.d/90-mine.toml")
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert pids(own_host, *DAEMONS) == running


def test_dry_run_changes_nothing(bare_host: Host) -> None:
    before = bare_host.run("find", "/opt", "/etc", "/usr/local", "-printf", "%p %s %T@\n").stdout
    said = bare_host.run(*INSTALL, "--dry-run").stdout.splitlines()
    assert len(said) == STEPS
    assert said[0] == "check this host: as it should be"
    assert all(line.startswith("would: ") for line in said[1:])
    assert (
        bare_host.run("find", "/opt", "/etc", "/usr/local", "-printf", "%p %s %T@\n").stdout
        == before
    )


def test_killed_after_any_step_and_run_again(fresh_bare_host: Host) -> None:
    for step in range(1, STEPS):
        process = fresh_bare_host.popen(*INSTALL, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(step)]
        process.kill()  # in the middle of the next step
        process.communicate()
        assert all(lines), lines
    fresh_bare_host.run(*INSTALL, timeout=120)
    assert answers(fresh_bare_host)
    apply(fresh_bare_host, "after-all")


def test_a_new_version_restarts_ours_and_no_managed_service(own_host: Host) -> None:
    apply(own_host, "steady")
    service, running = pids(own_host, "steady.service"), pids(own_host, *DAEMONS)
    # Another version of the same package: the mark is what tells them apart.
    own_host.run("sh", "-c", "echo another >/opt/tambourine/.installed")
    said = own_host.run(*INSTALL).stdout
    assert "brought /opt/tambourine up to date" in said
    wait_answering(own_host)
    assert not set(running) & set(pids(own_host, *DAEMONS))
    assert pids(own_host, "steady.service") == service


def test_a_host_that_has_joined_no_cluster_shows_no_failure(host: Host) -> None:
    sync = "tambourine-sync.service"
    assert host.run("systemctl", "is-enabled", sync).stdout.strip() == "enabled"
    shown = host.run(
        "systemctl", "show", "--property=ActiveState,ConditionResult,Result", sync
    ).stdout
    assert sorted(shown.split()) == ["ActiveState=inactive", "ConditionResult=no", "Result=success"]
    assert "tambourine" not in host.run("systemctl", "--failed", "--no-legend").stdout


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--node-name=Worker 7", 'error: --node-name "Worker 7": a name has at most'),
        ('--node-name=a"\n[agent]', "error: --node-name"),
        (
            "--allow-namespace=Storage",
            'error: --allow-namespace "Storage": a namespace has at most',
        ),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_written(
    host: Host, option: str, said: str
) -> None:
    before = everything(host)
    done = host.run(*INSTALL, option, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert everything(host) == before


# What is wrong with a host, as a command that makes it so in a mount namespace of its own, and what the person is told.
BAD = {
    "systemd is not PID 1": (
        "mount -t tmpfs none /run",
        "systemd is not running this host\nhint: For an image that boots later: --root DIR",
    ),
    "no FUSE": (
        (
            "mkdir -p /var/cache/dev && mount -t tmpfs none /var/cache/dev && cp -a /dev/null /dev/urandom /var/cache/dev"
            " && mount --bind /var/cache/dev /dev"
        ),
        "/dev/fuse is missing\nhint: Load the kernel module: modprobe fuse",
    ),
    "a disk that is nearly full": (
        "mount -t tmpfs -o size=100M none /opt",
        "/opt has 100 MiB free, the installation needs 400 MiB\nhint: Free space on /opt",
    ),
    "/etc is read-only": (
        "mount --bind /etc /etc && mount -o remount,ro,bind /etc",
        "/etc is read-only\nhint: mount -o remount,rw /etc",
    ),
    "statuses' place is taken": (
        "mkdir -p /run/tambourine/proc && mount -t tmpfs stranger /run/tambourine/proc",
        (
            "/run/tambourine/proc is a mount point of Tambourine, and stranger (tmpfs) is mounted there\n"
            "hint: Unmount it (umount /run/tambourine/proc)"
        ),
    ),
    "a foreign file at a unit's place": (
        (
            "mkdir -p /usr/local/lib/systemd/system && mount -t tmpfs none /usr/local/lib/systemd/system"
            " && echo '# mine' >/usr/local/lib/systemd/system/tambourine.service"
        ),
        "/usr/local/lib/systemd/system/tambourine.service is there and not ours: it is kept\nhint: Move it away",
    ),
    "a foreign /opt/tambourine": (
        "mount -t tmpfs none /opt && mkdir /opt/tambourine && touch /opt/tambourine/mine",
        "/opt/tambourine is there and not ours: it is kept\nhint: Move it away",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_host_that_will_not_do_is_told_why_and_nothing_is_written(
    bare_host: Host, case: str
) -> None:
    make, said = BAD[case]
    before = everything_at_all(bare_host)
    script = f"{make} || exit 99; exec {' '.join(INSTALL)}"
    done = bare_host.run("unshare", "--mount", "sh", "-c", script, check=False)
    bare_host.run("rm", "-rf", "/var/cache/dev", "/run/tambourine")
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr
    assert everything_at_all(bare_host) == before


def everything_at_all(host: Host) -> str:
    return host.run(
        "find",
        "/etc",
        "/opt",
        "/var/lib",
        "-not",
        "-path",
        "/var/lib/systemd*",
        "-printf",
        "%p %m %s\n",
    ).stdout


def test_uninstalled_nothing_is_left_and_services_run_on_or_go_as_asked(
    own_bare_host: Host,
) -> None:
    host = own_bare_host
    leaving.make_original(host)
    before = leaving.everything(host)
    follow(host, "## From a tree", stands=SOURCE)
    host.run("cp", "--archive", "--link", PREFIX, KEPT)
    apply(host, "steady")
    running = pids(host, "steady.service")
    assert "1 run on as they are" in follow(host, "### An installation from a tree", stands=SOURCE)
    assert pids(host, "steady.service") == running
    left = leaving.everything(host) - before
    assert left == leaving.Left(files={"/etc/systemd/system/steady.service"}), left
    assert before - leaving.everything(host) == leaving.Left()

    # The other answer, killed during each of its steps. The former environment is still there.
    host.run("mv", KEPT, PREFIX)
    host.run(*INSTALL, timeout=300)
    leaving.apply_over_an_original(host)
    remove = (*INSTALL[:5], "--uninstall", "--remove-services")
    for step in range(1, REMOVAL_STEPS):
        process = host.popen(*remove, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(step)]
        process.kill()
        process.communicate()
        assert all(lines), lines
        # What it had started goes on to its end, and applied state has one user at a time.
        wait_until(
            lambda: host.run("pgrep", "-f", "withdraw-all", check=False).returncode == 1, "end"
        )
    assert len(host.run(*remove).stdout.splitlines()) == REMOVAL_STEPS
    assert host.run("cat", leaving.ORIGINAL).stdout == "original\n"
    assert pids(host, "over.service", "steady.service") == (0, *running)
    left = leaving.everything(host) - before
    assert left == leaving.Left(files={"/etc/systemd/system/steady.service"}), left
    assert before - leaving.everything(host) == leaving.Left()


def test_into_an_image_nothing_is_started_and_its_first_boot_does_the_rest(
    own_bare_host: Host,
) -> None:
    host, image = own_bare_host, "/mnt/image"  # bare, also where the test before has been here
    # The host's own disk, seen at another place: what is there when it boots is what was put into the image.
    host.run(
        "sh", "-c", f"mkdir -p {image} && mount --rbind / {image} && mount --make-rslave {image}"
    )
    follow(host, "## Into an image", stands=SOURCE)
    host.run("umount", "--recursive", "--lazy", image)
    active = host.run("systemctl", "is-active", *DAEMONS, check=False).stdout.split()
    assert active == ["inactive"] * len(DAEMONS)
    assert host.run("ls", "-A", "/etc/tambourine/pki", check=False).stdout == ""
    host.reboot()
    wait_answering(host)
    apply(host, "after-the-first-boot")
