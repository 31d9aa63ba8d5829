"""The host's configuration: files become one, wrong ones are named, and the shipped example tells the truth."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tambourinefs.errors import InvalidConfig
from tambourinefs.model import configrules
from tambourinefs.model.config import AgentConfig, Config, SiloConfig, merge

EXAMPLE = Path(__file__).parents[2] / "systemd" / "config.toml"


def uncommented(text: str) -> str:
    """The example with its defaults in force: `#key = …` loses its #, prose (`# …`) keeps it."""
    return re.sub(r"(?m)^#(?=[^ \n])", "", text)


def test_defaults_without_files() -> None:
    effective = merge([])
    assert effective.config == Config()
    assert set(effective.origins.values()) == {"default"}
    assert effective.origins.keys() == effective.values().keys() == configrules.CHECKS.keys()


def test_shipped_file_has_no_effect() -> None:
    effective = merge([("config.toml", EXAMPLE.read_bytes())])
    assert effective.config == Config()
    assert set(effective.origins.values()) == {"default"}


def test_shipped_file_lists_all_keys_with_defaults() -> None:
    text = uncommented(EXAMPLE.read_text())
    effective = merge([("config.toml", text.encode())])
    listed = {f"{name}.{key}" for name, keys in tomllib.loads(text).items() for key in keys}
    assert listed == set(configrules.CHECKS)
    assert effective.config == Config()
    assert set(effective.origins.values()) == {"config.toml"}


def test_shipped_file_describes_each_key() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for place, line in enumerate(lines):
        if re.match(r"#[a-z_]+ = ", line):
            before = lines[place - 1]
            assert before.startswith("# ") or re.match(r"#[a-z_]+ = ", before), line


def test_later_file_overrides_by_key() -> None:
    effective = merge(
        [
            ("a.toml", b'[agent]\nnamespaces = ["local", "storage"]\njournal_lines = false\n'),
            ("b.toml", b'[agent]\nnamespaces = ["web"]\n[silo]\nwriters = "any"\n'),
        ]
    )
    assert effective.config == Config(
        silo=SiloConfig(writers="any"),
        agent=AgentConfig()._replace(namespaces=("web",), journal_lines=False),
    )
    assert effective.origins["agent.namespaces"] == "b.toml"
    assert effective.origins["agent.journal_lines"] == "a.toml"
    assert effective.origins["agent.denied_units"] == "default"
    assert effective.values()["agent.namespaces"] == ("web",)


@pytest.mark.parametrize(
    ("written", "size"),
    [("1048576", 1 << 20), ('"512M"', 512 << 20), ('"1GiB"', 1 << 30), ('"2 T"', 2 << 40)],
)
def test_sizes(written: str, size: int) -> None:
    effective = merge([("c", f"[silo]\nquota_bytes = {written}\n".encode())])
    assert effective.config.silo.quota_bytes == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\nnamespace = []", 'c.toml: agent.namespace: unknown key "namespace" (did you mean "namespaces"?)'),
        ("[agnet]\n", 'c.toml: agnet: unknown section "agnet" (did you mean "agent"?)'),
        ("[zzz]\n", 'c.toml: zzz: unknown section "zzz"'),
        ("agent = 3", "c.toml: agent: must be a section: [agent]"),
        ("[agent]\njournal_lines = 1", "c.toml: agent.journal_lines: expected true or false, got a number"),
        ('[agent]\nnamespaces = "x"', "c.toml: agent.namespaces: expected a list of namespaces, got a string"),
        ("[agent]\nnamespaces = [3]", "c.toml: agent.namespaces: expected a list of namespaces, got a number in it"),
        ('[agent]\nnamespaces = ["a.b"]', 'c.toml: agent.namespaces: "a.b": a namespace has at most 63'),
        ('[agent]\ndenied_units = ["a b"]', 'c.toml: agent.denied_units: "a b": must be a unit name'),
        ('[agent]\ndenied_units = ["a[b"]', 'c.toml: agent.denied_units: "a[b": unbalanced ['),
        ('[agent]\nfile_prefixes = ["etc"]', 'c.toml: agent.file_prefixes: "etc": a path must be absolute'),
        ('[silo]\nstore = "/a/../b"', "c.toml: silo.store: a path must be normalised"),
        ('[silo]\nstore = "/a\\nb"', "c.toml: silo.store: a file name must not have control characters: /a\\nb"),
        ('[silo]\nwriters = "bob"', 'c.toml: silo.writers: expected a list of users, or "any", got a string'),
        ('[silo]\nwriters = ["b b"]', 'c.toml: silo.writers: "b b": must be the name or number of a user'),
        ('[silo]\nquota_bytes = "many"', "c.toml: silo.quota_bytes: expected bytes"),
        ("[silo]\nquota_bytes = -1", "c.toml: silo.quota_bytes: expected 1048576 to"),
        ("[silo]\nquota_files = 1e3", "c.toml: silo.quota_files: expected a whole number, got a number"),
        ("[silo]\nquota_files = true", "c.toml: silo.quota_files: expected a whole number, got a boolean"),
        ("[bombshell]\nmax_reads = 0", "c.toml: bombshell.max_reads: expected 1 to 4096, got 0"),
        ("[bombshell]\nstream_timeout = nan", "c.toml: bombshell.stream_timeout: expected 1 to 3600 seconds"),
        ("[bombshell]\nstream_timeout = 2026-01-01", "c.toml: bombshell.stream_timeout: expected seconds, got a date"),
        (f'[bombshell]\nsocket = "/{"s" * 110}"', "c.toml: bombshell.socket: the path of a socket has at most 107"),
        ('[silo]\nstore = "/run/tambourine/proc/x"', "c.toml: silo.store: silo.store /run/tambourine/proc/x"),
        ('[silo]\nmountpoint = "/var/lib/tambourine"', "c.toml: silo.mountpoint: silo.store /var/lib/tambourine/store"),
        ("[silo]\nstore = 1\nstore = 2\n#\n", "c.toml: not TOML: Cannot overwrite a value (at line 3"),
        ("x = " + "[" * 100_000, "c.toml: nested too deep"),
        ("x = " + "1" * 5_000, "c.toml: nested too deep, or a number is too large"),
    ],
)  # fmt: skip
def test_errors_have_file_and_key(text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        merge([("good.toml", b"[agent]\njournal_lines = false\n"), ("c.toml", text.encode())])
    assert str(caught.value).startswith(message)


def test_invalid_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidConfig, match=r"c\.toml: not UTF-8 at line 2"):
        merge([("c.toml", b"# fine\n# \xff\n")])


PAGES = [
    page
    for place in ("*.md", "docs/*.md", "kernel/*.md", "k8s/**/*.md", "tests/README.md")
    for page in EXAMPLE.parents[1].glob(place)
]


# Files and names that look alike.
NO_KEY = re.compile(r".*\.(py|sock|crt|tambourine)")


def named_keys(text: str) -> set[str]:
    """Keys of the configuration that a page names in `code`, and in its blocks of shell and TOML: `section.key`, or the
    key alone where a value is given to it.
    """
    sections = "|".join({key.partition(".")[0] for key in configrules.CHECKS})
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(
        r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    dotted = {
        found
        for one in code
        for found in re.findall(rf"(?<![\w./-])((?:{sections})\.[a-z_]+)(?![\w./(-])", one)
        if not NO_KEY.fullmatch(found)
    }
    given = {
        found
        for one in code
        for found in re.findall(r"(?m)^ *([a-z][a-z_-]*) = (?:true|false|\d|\"|\[)", one)
    }
    return dotted | given


def test_keys_in_docs_exist() -> None:
    short = {key.partition(".")[2] for key in configrules.CHECKS}
    named = {(page.name, key) for page in PAGES for key in named_keys(page.read_text())}
    assert len(named) >= 4
    assert not {
        (page, key) for page, key in named if key not in configrules.CHECKS and key not in short
    }


def test_toml_blocks_in_docs_are_valid() -> None:
    for page in PAGES:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            merge([(page.name, block.encode())])


def test_unknown_key_in_docs_is_found() -> None:
    assert named_keys("so `journal-lines = false` and `agent.namespacs`") == {
        "journal-lines",
        "agent.namespacs",
    }
