"""The Debian package on a host without a network: what it installs, that it updates unnoticed, and that it goes whole."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tambourinefs.install.uninstall import MODULE
from tambourinefs.model import formats
from tests.daemons import DAEMONS
from tests.e2e.chain import answers, apply, pids, wait_answering, wait_until
from tests.e2e.install_page import follow
from tests.e2e.leaving import ORIGINAL, Left, apply_over_an_original, everything, make_original
from tests.e2e.terminal import talk
from tests.e2e.under_load import Applying, Reader
from tests.lab import package
from tests.lab.hosts import Host

ORPHAN = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: stays
spec:
  name: stays
  command: start
  deletionPolicy: orphan
  unit: |
    [Service]
    ExecStart=/bin/sleep infinity
"""
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "Dpkg::Use-Pty=0")
DOWNGRADE = (*APT, "--allow-downgrades", "install")
APPLIED = "/var/lib/tambourine/agent/version"
STANDS = "/var/cache/tambourine-test"  # where who follows the page stands
VERSION = "/run/tambourine/proc/version.txt"


@pytest.fixture(scope="session")
def debs() -> Path:
    return package.packages()


def bring(host: Host, file: Path) -> str:
    """Put a package on the host, where the page that is followed stands; returns its path there."""
    to = f"{STANDS}/dist/{file.name}"
    (host.root / to.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, host.root / to.lstrip("/"))
    return to


@dataclass(frozen=True)
class Packaged:
    """A host with the package installed from dist/, and what was there before it came."""

    host: Host
    before: Left
    deb: str


@pytest.fixture(scope="module")
def packaged(debs: Path, own_bare_host: Host) -> Packaged:
    """For the tests in their order, the last of which purge it; each can be run by itself as well."""
    host = own_bare_host
    prepare(host)
    (file,) = debs.glob("tambourine_*.deb")
    deb = bring(host, file)
    make_original(host)
    before = everything(host)
    follow(host, "## From the package", stands=STANDS)
    return Packaged(host, before, deb)


@pytest.fixture(scope="session")
def newer(debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as a later version."""
    (file,) = debs.glob("tambourine_*.deb")
    return package.as_version(file, "99.0", tmp_path_factory.mktemp("newer"))


def prepare(host: Host) -> None:
    # The host was born with this machine's list of packages, perhaps taken during an installation.
    host.run("dpkg", "--configure", "-a", timeout=300)
    # What is unpacked here need not outlive a power cut.
    (host.root / "etc/dpkg/dpkg.cfg.d/lab").write_text("force-unsafe-io\n")


def install(host: Host, deb: str) -> str:
    return host.run(*DOWNGRADE, deb, timeout=300).stdout


def ready(host: Host) -> set[str]:
    """The services whose present generation is Ready."""
    found = json.loads(host.run("cat", "/run/tambourine/proc/services.json").stdout)
    return {
        s["name"]
        for s in found
        for c in s.get("conditions", ())
        if (c["type"], c["status"]) == ("Ready", "True")
        and c["observedGeneration"] == s["generation"]
    }


def test_installed_it_works_and_brings_its_pages(packaged: Packaged) -> None:
    host = packaged.host
    assert answers(host)
    assert host.run("man", "--where", "tambourine").stdout.strip().endswith("tambourine.1.gz")
    apply(host, "steady")


def test_the_autopkgtest_passes(packaged: Packaged) -> None:
    packaged.host.run("/src/debian/tests/service", timeout=120)


def test_the_module_s_package_comes_and_goes_by_itself(debs: Path, packaged: Packaged) -> None:
    """This machine's kernel is not one that it is built for: that is said, and stops nothing."""
    host = packaged.host
    (file,) = debs.glob("tambourine-dkms_*.deb")
    bring(host, file)
    # The lab's hosts have a /var of their own, without dkms's directory.
    host.run("sh", "-c", f"! test -e {MODULE} && mkdir /var/lib/dkms")
    said = follow(host, "## The kernel module", stands=STANDS)
    assert "tambourine-dkms: the module is not loaded; the statuses are at" in said, said
    host.run("sh", "-c", f"! test -e {MODULE} && ! test -e /var/lib/dkms/tambourine")
    host.run("rm", "-r", "/var/lib/dkms")
    assert answers(host)


@pytest.mark.timing
def test_updated_under_load_nobody_notices(packaged: Packaged, newer: Path) -> None:
    host = packaged.host
    deb = bring(host, newer)
    for name in ("steady", "second"):
        apply(host, name)
    units = ("steady.service", "second.service")
    host.run("sh", "-c", "echo '# mine' >>/etc/tambourine/config.toml")
    host.run("touch", "/etc/tambourine/config.d/90-mine.toml")
    running = pids(host, *units)
    files = {
        "local/steady/status": ["steady"],
        "local/steady/status.json": ["steady"],
        "services.json": ["steady", "second"],
    }
    with Applying(host) as applying, Reader(host, files) as reader:
        assert "kept as you changed it" in install(host, deb)
        wait_answering(host)
        assert "99.0" in host.run("cat", VERSION).stdout
    print(f"answered during the update: {len(applying.answered)}, not: {applying.refused}")
    assert len(applying.answered) >= 5
    wait_until(lambda: not set(applying.answered) - ready(host), "what was answered is Ready")
    assert set(applying.answered) | {"steady", "second"} <= ready(host)
    for file, seen in reader.seen.items():
        print(f"{file}: {seen.reads} reads, longest pause {seen.pause:.2f} s")
        assert seen.wrong == []
        assert seen.reads > 100
        assert seen.pause < 2
    host.run("tambourine", "delete", "--ignore-not-found", *applying.answered, *applying.refused)
    assert pids(host, *units) == running
    assert host.run("tail", "-n1", "/etc/tambourine/config.toml").stdout == "# mine\n"
    assert host.run("ls", "/etc/tambourine/config.d").stdout == "90-mine.toml\n"


def test_an_older_version_goes_back_on_and_purged_services_run_on_and_belong_to_nobody(
    packaged: Packaged, newer: Path
) -> None:
    host = packaged.host
    install(host, bring(host, newer))
    for name in ("steady", "second"):
        apply(host, name)
    apply_over_an_original(host)
    units = ("steady.service", "second.service", "over.service")
    running = pids(host, *units)
    daemons, later = pids(host, *DAEMONS), f"{formats.APPLIED + 1}\n"
    host.run("sh", "-c", f"printf {later!r} >{APPLIED}")
    refused = host.run(*DOWNGRADE, packaged.deb, check=False, timeout=300)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert f"has version {later.strip()}, written by a later Tambourine; this one knows" in said
    assert "install the version that wrote it, or a later one" in said
    assert "99.0" in host.run("cat", VERSION).stdout
    assert (
        host.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "tambourine").stdout
        == "99.0 installed"
    )
    assert pids(host, *DAEMONS, *units) == (*daemons, *running)
    # The format of the applied state is now one that the older one knows.
    host.run("sh", "-c", f"echo {formats.APPLIED} >{APPLIED}")
    install(host, packaged.deb)
    wait_answering(host)
    assert "99.0" not in host.run("cat", VERSION).stdout
    assert pids(host, *units) == running
    apply(host, "after-all")

    assert "kept: 4 run on" in follow(host, "### The package", stands=STANDS)
    assert pids(host, *units) == running
    # They have no owner now, so what they replaced is not restored.
    names = ("steady", "second", "over", "after-all")
    files = {f"/etc/systemd/system/{name}.service" for name in names}
    left = everything(host) - packaged.before
    assert left == Left(files=files, links={"over.service"}), left
    host.run("systemctl", "disable", "--now", *names)
    host.run("rm", *files)
    host.run("systemctl", "daemon-reload")
    make_original(host)


def test_purged_with_its_services_by_a_person_who_is_asked_what_stood_there_before_is_back(
    packaged: Packaged,
) -> None:
    host = packaged.host
    said = install(host, packaged.deb)
    assert "Tambourine runs. Try:" in said or "already the newest" in said  # by itself
    apply(host, "steady")
    apply_over_an_original(host)
    host.run("tambourine", "apply", "-f", "-", input=ORPHAN)
    running = pids(host, "stays.service")
    host.run("touch", str(MODULE))  # as tambourine-dkms brings it
    host.run("sh", "-c", "echo PURGE | debconf-communicate tambourine")  # what was answered before
    question = "What happens to the services that Tambourine manages?"
    asking = "DEBIAN_FRONTEND=readline apt-get --yes -o Dpkg::Use-Pty=0 purge tambourine"
    talked = talk(host, f"TERM=dumb {asking}", {question: "2"}, seconds=300)
    assert talked.status == 0, talked.text
    assert "withdrawn local/over, local/stays, local/steady" in talked.text
    assert "kernel module: stays, and with it an empty /proc/tambourine" in talked.text
    host.run("rm", str(MODULE))
    assert host.run("cat", ORIGINAL).stdout == "original\n"
    assert pids(host, "stays.service", "steady.service", "over.service") == (*running, 0, 0)
    left = everything(host) - packaged.before
    assert left == Left(files={"/etc/systemd/system/stays.service"}), left
    assert packaged.before - everything(host) == Left()


def test_the_package_takes_the_place_of_an_installation_from_a_tree(
    fresh_host: Host, debs: Path
) -> None:
    host = fresh_host
    (file,) = debs.glob("tambourine_*.deb")
    prepare(host)
    apply(host, "steady")
    running = pids(host, "steady.service")
    install(host, bring(host, file))
    assert answers(host)
    assert pids(host, "steady.service") == running
    from_the_package = host.run("systemctl", "show", "--property=FragmentPath", *DAEMONS).stdout
    assert from_the_package.count("FragmentPath=/") == len(DAEMONS)
    assert "/usr/local" not in from_the_package
    assert host.run("readlink", "--canonicalize", "/usr/bin/tambourine").stdout.startswith("/opt/")
    assert host.run("ls", "/usr/local/bin/tambourine", check=False).returncode != 0
    apply(host, "after-all")


def test_lintian_has_nothing_to_say_beyond_what_the_overrides_explain(
    debs: Path, tmp_path: Path
) -> None:
    """`make deb` asks it of the whole package; here other people's files are left out, of which it says nothing else."""
    (product,) = debs.glob("tambourine_*.deb")
    (module,) = debs.glob("tambourine-dkms_*.deb")
    argv = ("lintian", "--allow-root", "--fail-on=error,warning", str(module))
    done = subprocess.run(
        [*argv, str(package.without_others(product, tmp_path))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_module_s_package_brings_what_dkms_builds(debs: Path) -> None:
    (file,) = debs.glob("tambourine-dkms_*.deb")
    argv = ("dpkg-deb", "--contents", str(file))
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    for name in ("tambourine.c", "Kbuild", "dkms.conf"):
        assert f"/{name}\n" in listed
    assert "/usr/lib/modules-load.d/tambourine.conf" in listed
