"""Ten thousand hostile manifests: each is a manifest or InvalidManifest, at once, and what is taken can be used."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from tambourinefs.agent.admission import unittext
from tambourinefs.errors import InvalidManifest
from tambourinefs.model.manifest import (
    Manifest,
    content_digest,
    drop_ins_claimed,
    names_claimed,
    parse_json,
    parse_yaml,
    to_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HOW_MANY = 10_000
SLOWEST = 2.0  # seconds of processor for one; the slowest takes 0.2

SEED: dict[str, Any] = {
    "apiVersion": "tambourine.dev/v1alpha1",
    "kind": "Tambourine",
    "metadata": {
        "name": "x",
        "namespace": "local",
        "uid": "u",
        "generation": 3,
        "labels": {"a": "b"},
    },
    "spec": {
        "name": "x@y.service",
        "command": "restart",
        "commandID": "1",
        "nodeSelector": {"disk": "ssd"},
        "unit": "[Service]\nExecStart=/bin/true \\\n# c\n  x\n[Install]\nAlias=z@y.service\n",
        "dropIns": [{"name": "10-a.conf", "content": "[Service]\nNice=1\n"}],
        "files": [
            {"path": "/etc/a", "content": "text\n", "mode": 420},
            {"path": "/etc/b", "contentBase64": "AAEC", "mode": "0600", "owner": 7},
            {"path": "/etc/c", "contentFrom": {"silo": "c", "sha256": "0" * 64}},
        ],
        "enabled": True,
        "onChange": "reload",
        "rollout": {"maxUnavailable": "10%", "paused": False},
    },
}
SEED_TEXT = json.dumps(SEED)
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 400, 2**31, 2**63, 2**200, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", " ",
    "\0", "\n", "\r", "\ud800", "\udcff", "\ufeff", "\u202e", "\x1b[2J", "..", ".", "/", "//", "../../etc/shadow", "~",
    "/etc/../etc/x", "/proc/self/fd/0", "%s%n%i", "%", "[", "[Service", "[Service]\n\\", "A=1", "=", "\\", "\\x", "'", '"',
    "x" * 300, "x" * 5000, "@", "@.service", ".service", "x.device", "-.slice", "*", "?", "{{7*7}}", "$(id)", "`id`",
    "tambourine.service", "yes", "0644", "!!python/object:x", "<<", "&a", "*a", "- ", ": ", "#", "---", "...", "\t",
    [], {}, [[]], [{}], [None], {"": ""}, {"a": {"b": {}}}, ["x"] * 300, [{"path": "/etc/a"}] * 3,
    {"name": "a.conf", "content": "x"}, {"silo": "..", "sha256": "z"}, {"__class__": "x"}, "a" * 64, "=" * 64, "ä" * 200,
]  # fmt: skip
NAMES = [
    "unit", "files", "dropIns", "spec", "metadata", "name", "status", "mode", "content", "items", "kind", "path", "x",
    "", "\0", "é", "a" * 300, "__proto__", "<<", "=", "managedFields", "drop_ins", " - at `$.spec`", "`", "$.", "[0]",
]  # fmt: skip
PIECES = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\xf4\x90\x80\x80", b"\r", b"\t", b"\x1b", b"\xe2\x80\xa8",
    b"\xc2\x85", b"'", b'"', b"{", b"}", b"[", b"]", b",", b":", b": ", b"- ", b"? ", b"&a ", b"*a", b"!!str ",
    b"!x ", b"%YAML 1.1\n", b"---\n", b"...\n", b"|\n", b">-\n", b"#", b"<<: *a\n", b"@", b"`", b"NaN",
    b"1e999", b"0x", b"\\u0000", b"\\ud800", b"\\", b"\\x", b"//", b"null", b"[" * 70, b"{a: " * 70, b"- " * 70,
    b'{"a":' * 70, b"x" * 1000, b"9" * 50, b"&a [*a]", b"~", b"yes", b"\n", b"\n\n", b"  ",
]  # fmt: skip


def some_place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A (container, key or index) somewhere in an object."""
    while True:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or rng.random() < 0.2:
            return value, key
        value = value[key]


def bent(rng: random.Random) -> dict[str, Any]:
    """The valid object with one to four things in it replaced, added, renamed or removed."""
    value: dict[str, Any] = json.loads(SEED_TEXT)
    for _ in range(rng.randint(1, 4)):
        container, key = some_place(value, rng)
        act = rng.randrange(6)
        if act < 3:
            container[key] = copy.deepcopy(rng.choice(HOSTILE))
        elif act == 3 and isinstance(container, dict):
            container[rng.choice(NAMES)] = copy.deepcopy(rng.choice(HOSTILE))
        elif act == 4 and isinstance(container, dict):
            container[rng.choice(NAMES)] = container.pop(key)
        else:
            del container[key]
    return value


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with pieces put in, cut out, doubled, flipped."""
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.randrange(60))
        data = rng.choice(
            [
                data[:at] + rng.choice(PIECES) + data[at:],
                data[:at] + rng.choice(PIECES) + data[to:],
                data[:at] + data[to:],
                data[:to] + data[at:],
                data[:at] + rng.randbytes(rng.randrange(4)) + data[at:],
            ]
        )
    return data


def as_yaml(value: Any, indent: int = 0) -> str:
    """Block YAML by hand: the library's own writer would refuse or repair what we want to keep wrong."""
    if isinstance(value, dict) and value:
        return "".join(
            f"\n{' ' * indent}{key}: {as_yaml(item, indent + 2)}" for key, item in value.items()
        )
    if isinstance(value, list) and value:
        return "".join(f"\n{' ' * indent}- {as_yaml(item, indent + 2)}" for item in value)
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value  # a plain scalar, whatever that makes of it
    return json.dumps(value)


def hostile(rng: random.Random) -> bytes:
    if rng.random() < 0.002:  # few, since they are large
        piece = rng.choice(PIECES) or b"x"
        return piece * ((1 << rng.randint(16, 21)) // len(piece))
    value = bent(rng) if rng.random() < 0.7 else SEED
    text = (
        json.dumps(value, ensure_ascii=rng.random() < 0.7) if rng.random() < 0.5 else as_yaml(value)
    )
    data = text.encode(errors="surrogatepass")
    return data if rng.random() < 0.4 else damaged(data, rng)


def use(found: Manifest) -> None:
    """What the rest of the program does with a manifest without asking again."""
    data = to_json(found)
    assert parse_json(data, source="again") == found
    assert len(content_digest(found)) == 64
    names_claimed(found)
    drop_ins_claimed(found)
    unittext.own_paths(found.spec.texts, found.spec.unit_name)
    unittext.users(found.spec.texts, found.spec.unit_name)
    for file in found.spec.files:
        assert (file.inline_bytes() is None) == (file.content_from is not None)
        assert 0 <= file.permissions <= 0o777
        assert file.path.startswith("/")
        assert ".." not in file.path.split("/")


def outcome(parse: Callable[[], list[Manifest]]) -> bool:
    """Whether it was taken. Raises what is neither taken nor InvalidManifest."""
    try:
        found = parse()
    except InvalidManifest as error:
        refusal = error
    else:
        for item in found:
            use(item)
        return True
    assert refusal.source.startswith("hostile")
    assert str(refusal).isprintable(), ascii(str(refusal))
    assert len(str(refusal)) < 1000
    return False


@pytest.mark.parametrize("seed", [20261122])
def test_hostile_manifests_are_accepted_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    taken = refused = 0
    for number in range(HOW_MANY):
        data = hostile(rng)
        begun = time.process_time()
        try:
            as_yaml_taken = outcome(lambda: parse_yaml(data, source="hostile"))  # noqa: B023
            as_json_taken = outcome(lambda: [parse_json(data, source="hostile")])  # noqa: B023
        except Exception as error:
            raise AssertionError(f"number {number} of seed {seed}: {data[:2000]!r}") from error
        assert time.process_time() - begun < SLOWEST, f"number {number}: {data[:200]!r}"
        taken += as_yaml_taken or as_json_taken
        refused += not (as_yaml_taken and as_json_taken)
    assert taken > HOW_MANY // 100, "the generator makes nothing that passes: it proves too little"
    assert refused > HOW_MANY // 2, "the generator makes nothing that is refused"


SIZE = 80_000  # bytes; what takes quadratic time would take minutes

WORST: dict[str, dict[str, Any]] = {
    "settings": {"unit": "[S]\n" + "A=\n" * (SIZE // 4)},
    "paths of settings": {"unit": "[S]\n" + "EnvironmentFile=/a\n" * (SIZE // 20)},
    "aliases, one a line": {"unit": "[Install]\n" + "Alias=a.service\n" * (SIZE // 17)},
    "aliases in one line": {"unit": "[Install]\nAlias=" + "%n " * (SIZE // 3)},
    "comments": {"unit": "[S]\n" + "#\n" * (SIZE // 3)},
    "continued lines": {"unit": "[S]\nA=" + "\\\n" * (SIZE // 4)},
    "backslashes": {"unit": "[Install]\nAlias=" + "\\" * (SIZE // 2)},
    "sections": {"unit": "".join(f"[S{i}]\n" for i in range(SIZE // 10))},
    "drop-ins": {
        "dropIns": [{"name": f"{i}.conf", "content": "[S]\n" + "A=\n" * 300} for i in range(64)]
    },
    "long paths": {"files": [{"path": f"/etc{'/a' * 2000}{i}", "content": ""} for i in range(60)]},
    "a long key": {"k" * (SIZE // 2): [1] * (SIZE // 6)},
    "labels": {"nodeSelector": {f"k{i}": "" for i in range(8_000)}},
}


@pytest.mark.parametrize("spec", WORST.values(), ids=WORST.keys())
def test_worst_case_takes_linear_time(spec: dict[str, Any]) -> None:
    data = json.dumps(SEED | {"spec": {"name": "x"} | spec}).encode()
    begun = time.process_time()
    outcome(lambda: parse_yaml(data, source="hostile"))
    outcome(lambda: [parse_json(data, source="hostile")])
    assert time.process_time() - begun < 2 * SLOWEST
