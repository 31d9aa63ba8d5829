"""debian/: what is written there twice is the same as where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from debian import manpages
from tambourinefs import __version__
from tambourinefs.cli.main import COMMANDS, root
from tambourinefs.install import check, host, ledger
from tambourinefs.model import formats, paths

TREE = Path(__file__).parents[2]
REPLACED = "/opt/.tambourine-replaced"  # what preinst moves away and postrm puts back


def test_every_file_that_names_the_version_names_this_one() -> None:
    first = (TREE / "debian/changelog").read_text().splitlines()[0]
    assert first.startswith(f"tambourine ({__version__}) ")
    assert f'PACKAGE_VERSION="{__version__}"' in (TREE / "kernel/dkms.conf").read_text()


def test_the_purge_takes_what_the_installation_makes() -> None:
    script = (TREE / "debian/tambourine.postrm").read_text()
    removed = set(re.findall(r"remove_tree (/\S+)", script))
    assert removed == {*host.DIRECTORIES, str(paths.PREFIX), REPLACED}
    users, groups = re.findall(r"for name in ([^;]+); do", script)
    assert users.split() == list(host.USERS)
    assert groups.split() == [*host.USERS, paths.GROUP]


def test_preinst_asks_of_the_places_that_the_installation_asks_of() -> None:
    script = (TREE / "debian/tambourine.preinst").read_text()
    names = {f"/{name}" for name in check._OF_THE_ENVIRONMENT}
    (of_the_environment,) = re.findall(r"^ +(/bin \| .*)\)$", script, re.MULTILINE)
    assert set(of_the_environment.split(" | ")) == names
    (places,) = re.findall(r"for place in (/proc/.*); do", script)
    mounts = places.replace("$state", str(paths.STATE)).split()
    assert mounts == [str(p) for p in (paths.PROC_LITERAL, paths.PROC, paths.SILO)]
    assert f"prefix={paths.PREFIX}\n" in script
    assert f"state={paths.STATE}\n" in script
    assert f"replaced={REPLACED}\n" in script
    assert paths.AGENT_STATE == paths.STATE / "agent"
    assert Path(paths.STATE, "install.json") == ledger.FILE


def test_preinst_is_told_the_formats_that_the_program_knows() -> None:
    """By debian/rules, with sed."""
    for name, file, number in (
        ("APPLIED", "model/formats.py", formats.APPLIED),
        ("VERSION", "install/ledger.py", ledger.VERSION),
    ):
        text = (TREE / "tambourinefs" / file).read_text()
        assert re.findall(rf"^{name}: Final = (.*)$", text, re.MULTILINE) == [str(number)]
        assert (
            f"$(call number,{name},{file.removesuffix('.py')})"
            in (TREE / "debian/rules").read_text()
        )


def test_every_unit_is_shipped_and_none_is_forgotten() -> None:
    files = {
        f.name for f in (TREE / "systemd").iterdir() if f.suffix in {".service", ".mount", ".timer"}
    }
    assert files == set(host.UNITS)
    assert set(paths.OWN_UNITS) == set(host.UNITS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_page_has_its_options_and_its_text(name: str) -> None:
    page = manpages.pages()[f"tambourine-{name}.1"].replace("\\-", "-")
    command = root.get_command(click.Context(root), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert all(option in page for option in parameter.opts), parameter.name
    assert "--withdraw-all" not in page


def test_the_page_of_the_configuration_has_every_key() -> None:
    page = manpages.pages()["tambourine.toml.5"].replace("\\-", "-")
    keys = re.findall(r"^#(\w+) = ", (TREE / "systemd/config.toml").read_text(), re.MULTILINE)
    assert len(keys) > 15
    assert all(f"#{key} = " in page for key in keys)


def test_roff_s_own_signs_are_text() -> None:
    assert manpages._text(".a\\b-c'`") == "\\&.a\\eb\\-c\\(aq\\(ga"


def test_every_command_of_docs_install_is_in_a_section_that_a_test_follows() -> None:
    text = (TREE / "docs/install.md").read_text()
    assert not re.findall(r"^    \S", text, re.MULTILINE)  # commands are in console blocks alone
    sections = re.split(r"^(?=##+ )", text, flags=re.MULTILINE)
    shown = {part.splitlines()[0] for part in sections if "```console" in part}
    tests = "".join((TREE / f"tests/e2e/test_{name}.py").read_text() for name in ("package", "install"))  # fmt: skip
    assert shown == set(re.findall(r'follow\(\s*host, "(.*?)"', tests))
