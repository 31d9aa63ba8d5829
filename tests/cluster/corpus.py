"""Tambourines at and beyond every bound: each field with each odd value, each bound from both sides, then several at once.

Left out, since only one of API server and node can know: metadata that the API server makes itself (uid, generation,
times), the namespace `local`, sizes of texts and files (etcd bounds an object more than the silo does), and units that
name ours in Alias= and Also=.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from tambourinefs.model import paths
from tambourinefs.model.schema import API_VERSION

Object = dict[str, Any]
Place = tuple[str | int, ...]

UNIT = "[Service]\nExecStart=/bin/true\n"
SEEDS: list[Object] = [
    {
        "name": "x@y.service",
        "state": "installed",
        "command": "restart",
        "commandID": "1",
        "nodeSelector": {"disk": "ssd", "example.com/rack": "r-1"},
        "unit": UNIT,
        "dropIns": [{"name": "10-a.conf", "content": "[Service]\nNice=1\n"}],
        "files": [
            {"path": "/etc/a", "content": "text\n", "mode": 420},
            {"path": "/etc/b", "contentBase64": "AAEC", "mode": "0600", "owner": "7", "group": "a"},
            {"path": "/etc/c", "contentFrom": {"silo": "c", "sha256": "0" * 64}},
        ],
        "enabled": True,
        "onChange": "reload",
        "deletionPolicy": "orphan",
        "rollout": {"maxUnavailable": "10%", "paused": False},
    },
    {"name": "hello", "nodeName": "n1"},
]
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 7, 400, 420, 511, 512, 2**31, 2**53, 2**63, 2**64, 1.0, 0.5, 1e308, "", " ", "a", "A", "0",
    "1", "-1", "0644", "644", "\0", "\n", "\r", "\t", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud800", "..", ".",
    "...", "/", "//", "/a", "/a/", "/a//b", "/a/./b", "/a/../b", "/.a", "/..a", "a.conf", ".conf", ".a.conf", "a/b.conf",
    "@", "@.service", "a@", "a@.service", "a@b", ".service", "x.device", "x.scope", "-.slice", "-.target", "a-b.slice",
    "a--b.slice", "-a.slice", "a@b.slice", "x.mount", "x.Service", "x.service.service", "a b", "a\\x2db", "ä", "a:b",
    "tambourine", "tambourine.service", "tambourine-silo", "tambourine-x", "tambourine-.service", "tambourine@.service",
    "tambourine.socket", "proc-tambourine.mount", "run-tambourine.mount", "run-tambourine-proc.automount",
    "var-lib-tambourine.mount", "var-lib-tambourine-silo.swap", "etc-tambourine.mount", "proc.mount", "run.mount",
    "-run-tambourine-.mount", "run--tambourine.mount", "run-tambouri\\x6ee.mount", "run-tambourinex.mount",
    "tambourine.json", "root", "www-data", "a$", "a$b", "_a", "-a", "4294967294", "4294967295", "9999999999", "0007",
    "100%", "101%", "0%", "25%", "25", "start", "stop", "restart", "reload", "Start", "none", "installed", "absent",
    "uninstall", "orphan", "0" * 64, "A" * 64, "0" * 63, "g" * 64, "AAEC", "AA==", "AA=", "A", "AA\nEC", "A-_A", "====",
    UNIT, "[Service", "[Service]", "[]", "[a]b", "[A]\n[B\n", '["]', "A=1", "#[\n", "[X-Tambourine]\n", "[X-Tambourine]x",
    "\ufeff[Service]\n", "[Service]\\\nA=1", "# c\\\n[B\n", "[A]\r[B", "[A]\n\r[B]", "A=1\\\n[B\n", "[A]\nB=\\\n# c\n[C\n",
    "[A]\nB=\\\\\n[C\n", " \t[A] \n", "[ä]", "[a\tb]", "[a]]", "[[a]", "[A]\nB=[\n", "[A]\nB\n", "[A]\0[B]",
    [], {}, [[]], [{}], [None], ["x"], {"": ""}, {"a": "b"}, {"a": 1}, {"a": None}, {"a": {}}, {"a": ""}, {"A/b": "c"},
    {"a/b/c": "d"}, {"/b": "c"}, {"a.b/C_d": "E.f"}, {"-a": "b"}, {"a": "-b"}, {"a": "b" * 64}, {"a" * 64: "b"},
    {"a" * 63: "b" * 63}, {("a" * 63 + ".") * 3 + "a" * 61 + "/b": "c"}, {("a" * 63 + ".") * 4 + "a/b": "c"}, {"ä": "b"},
    {"a": "ä"}, {"path": "/etc/a"}, [{"path": "/etc/a"}], [{"path": "/etc/z", "content": ""}],
    [{"name": "z.conf", "content": ""}], {"silo": "c", "sha256": "A" * 64}, {"maxUnavailable": 1},
]  # fmt: skip


def _own_units() -> list[str]:
    """Ours, those whose drop-ins are theirs too (`a-.service` of `a-b.service`), and similar names that are free."""
    found = set(paths.OWN_UNITS)
    for stem, kind in (own.rsplit(".", 1) for own in paths.OWN_UNITS):
        parts = stem.split("-")
        heads = {"-".join(parts[:count]) + "-" for count in range(1, len(parts))} | {f"{stem}-"}
        found |= {f"{head}{at}.{kind}" for head in heads for at in ("", "@", "@x")}
        found |= {stem, f"{stem}x", f"{stem}@.{kind}", f"{stem}.socket", f"{stem}.timer"}
    return sorted(found)


def _repeated(text: str, *counts: int) -> list[str]:
    return [text * count for count in counts]


# Bounds from both sides, by field: characters, bytes, numbers of things.
BOUNDS: dict[Place, list[Any]] = {
    ("name",): [
        *_repeated("a", 247, 248, 255, 256), "a" * 247 + ".service", "a" * 248 + ".service", "a" * 249 + ".slice",
        "a" * 250 + ".slice", "a" * 250 + ".swap", "a" * 251 + ".swap", "b@" + "a" * 245, "b@" + "a" * 246,
        *_own_units(),
    ],
    ("unit",): [
        "[A]\n#" + "x" * (131072 - 5), "[A]\n" + "B=\n" * 3000, "[A]\n" + "B=\n" * 3001,
        "[A]\n" + "%" * 1000, "[A]\n" + "%" * 1001, "[" + "a" * 300 + "]",
    ],
    ("commandID",): [*_repeated("x", 128, 129), *_repeated("ä", 128, 129), "a b", "a\u200bb", "a\u200cb"],
    ("nodeSelector",): [{f"k{i}": "v" for i in range(n)} for n in (64, 65)],
    ("nodeName",): [*_repeated("a", 63, 64, 253, 254), "a.b", "a..b", "a.", ".a", "a-", "A", "a_b"],
    ("dropIns",): [
        [{"name": f"{i}.conf", "content": ""} for i in range(64)], [{"name": f"{i}.conf", "content": ""} for i in range(65)],
        [{"name": "a.conf", "content": ""}] * 2, [{"name": "a.conf"}], [{"content": ""}],
        [{"name": f"{i}.conf", "content": "[A]\n" + "B=\n" * 1500} for i in range(2)],
        [{"name": f"{i}.conf", "content": "[A]\n" + "B=\n" * 1501} for i in range(2)],
        [{"name": f"{i}.conf", "content": "%" * 500} for i in range(2)],
        [{"name": f"{i}.conf", "content": "%" * 501} for i in range(2)],
        [{"name": f"{i}.conf", "content": "[A]\n#" + "x" * 60000} for i in range(3)],
    ],
    ("dropIns", 0, "name"): [
        *("a" * n + ".conf" for n in (250, 251)), *("ä" * n + ".conf" for n in (125, 126)), "a.CONF", "a.conf.bak",
        "\u202e.conf", "\x85.conf",
    ],
    ("dropIns", 0, "content"): ["[A]\n#" + "x" * (131072 - 5)],
    ("files",): [
        [{"path": f"/a/{i}", "content": ""} for i in range(256)], [{"path": f"/a/{i}", "content": ""} for i in range(257)],
        [{"path": "/a", "content": ""}] * 2, [{"path": "/a", "content": ""}, {"path": "/a/b", "content": ""}],
        [{"path": "/a/b", "content": ""}, {"path": "/a", "content": ""}],
        [{"path": "/a/b/c", "content": ""}, {"path": "/a", "content": ""}],
        [{"path": "/a", "content": ""}, {"path": "/a-", "content": ""}, {"path": "/a/b", "content": ""}],
        [{"path": "/a", "content": ""}, {"path": "/ab", "content": ""}],
        *([{"path": f"/{'d' * 200}/{i}", "content": ""} for i in range(n)] for n in (100, 256)),
    ],
    ("files", 0, "path"): [
        "/" + "a" * 255, "/" + "a" * 256, "/" + "ä" * 127, "/" + "ä" * 128, "/a" * 2047, "/a" * 2047 + "b", "/a" * 2048,
        "/é" * 1365, "/é" * 1366, "/a\u202e", "/a\x85", "/a\ufeffb",
    ],
    ("files", 0, "content"): _repeated("x", 204800),
    ("files", 1, "contentBase64"): [*_repeated("AAAA", 51200), "AB==", "A===", "AA=A", "AAEC\r\n", " AAEC", "AAAA=", "AAA"],
    ("files", 2, "contentFrom", "silo"): [*_repeated("a", 255, 256), *_repeated("ä", 127, 128), ".a", "a\u2028"],
    ("files", 0, "owner"): [*_repeated("a", 31, 32), "a" * 31 + "$", "a" * 30 + "$", "00000000001", 0, 4294967294, 2**32],
    ("files", 0, "group"): [*_repeated("a", 31, 32), "a" * 31 + "$", 0, 4294967294],
    ("files", 0, "mode"): [400, 440, 444, 500, 399, 401, 511, 512, "0777", "0778", "1777", "01777", "777", "0"],
    ("rollout", "maxUnavailable"): [1_000_000, 1_000_001, "99%", "100%", "001%", "1 %", "٣%", "1.5%"],
}  # fmt: skip
METADATA: list[Object] = [
    *({"name": name} for name in ("a" * 253, "a" * 254, "a.b", "a..b", "A", "a_b", "-a", "a-", "1", "", "ä")),
    *({"name": "a", "labels": value} for value in ODD if isinstance(value, dict)),
    *({"name": "a", "annotations": value} for value in ODD if isinstance(value, dict)),
    {"name": "a", "labels": {"a": "b" * 63}}, {"name": "a", "labels": {"a": "ä"}}, {"name": "a", "unknown": "b"},
    {"name": "a", "annotations": {"a": "\n\u202eä"}}, {"name": "a", "annotations": {"X.Y/z": "w"}},
    {"name": "a", "labels": {"X.Y/z": "w"}},
]  # fmt: skip


def corpus(seed: int, mixed: int) -> Iterator[bytes]:
    """The objects as JSON; `mixed` of them with several changes at once, the same for the same seed."""
    for spec in SEEDS:
        yield _bytes(spec)
        for place in _places(spec):
            for value in ODD:
                yield _bytes(_with(spec, place, value))
            yield _bytes(_without(spec, place))
            if isinstance(_at(spec, place), dict):
                yield _bytes(_with(spec, (*place, "unknown"), "x"))
        yield _bytes({**spec, "unknown": "x"})
    for place, values in BOUNDS.items():
        spec = {
            key: value
            for key, value in SEEDS[0].items()
            if place[0] != "nodeName" or key != "nodeSelector"
        }
        if place == ("dropIns",):
            spec.pop("unit")
        for value in values:
            yield _bytes(_with(spec, place, value))
    for metadata in METADATA:
        yield _bytes(SEEDS[1], metadata)
    dice = random.Random(seed)
    for _ in range(mixed):
        spec = copy.deepcopy(SEEDS[0])
        for _ in range(dice.randint(2, 4)):
            places = list(_places(spec))
            if not places:
                break
            place = dice.choice(places)
            known = _at(spec, place)
            alike = [value for value in ODD if type(value) is type(known)] or ODD
            value = dice.choice(alike if dice.random() < 0.8 else ODD)
            spec = _without(spec, place) if dice.random() < 0.5 else _with(spec, place, value)
        yield _bytes(spec)
    yield from _texts()


def _texts() -> Iterator[bytes]:
    """What a dictionary cannot say."""
    whole = _bytes({"name": "x", "commandID": "", "enabled": True})
    yield whole.replace(b'"enabled"', b'"name": "x", "enabled"')
    yield whole.replace(b"true", b"1e0")
    yield whole.replace(b'"commandID": ""', b'"rollout": {"maxUnavailable": 1e0}')
    yield whole.replace(b'"commandID": ""', b'"rollout": {"maxUnavailable": 2.0}')
    yield whole.replace(b"Tambourine", b"tambourine")
    yield whole.replace(b"v1alpha1", b"v1")
    for key in (b'"kind"', b'"apiVersion"', b'"spec"', b'"metadata"'):
        yield whole.replace(key, b'"x"')
    yield b"[]"
    yield b'"x"'
    yield whole[:-1] + b', "x": 1}'
    yield whole[:-1] + b', "status": {}}'


def _bytes(spec: Any, metadata: Object | None = None) -> bytes:
    item = {
        "apiVersion": API_VERSION,
        "kind": "Tambourine",
        "metadata": metadata or {"name": "a"},
        "spec": spec,
    }
    return json.dumps(item, allow_nan=False).encode()


def _places(value: Any, here: Place = ()) -> Iterator[Place]:
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield (*here, key)
        yield from _places(inner, (*here, key))


def _at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def _with(spec: Object, place: Place, value: Any) -> Object:
    made = copy.deepcopy(spec)
    container = _at(made, place[:-1])
    container[place[-1]] = copy.deepcopy(value)
    return made


def _without(spec: Object, place: Place) -> Object:
    made = copy.deepcopy(spec)
    del _at(made, place[:-1])[place[-1]]
    return made
