"""A manifest is read strictly, named exactly where it is wrong, and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.errors import InvalidManifest
from tambourinefs.model import document, manifest, rules, schema, yamldocument
from tambourinefs.model.manifest import (
    DropIn,
    File,
    content_digest,
    drop_ins_claimed,
    names_claimed,
    parse_json,
    parse_yaml,
    to_json,
)

UNIT = "[Service]\nExecStart=/bin/true\n"
WHOLE = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: alice-zfs
  namespace: storage
  labels: {app: zfs}
  annotations: {example.com/note: "a note"}
spec:
  name: alice-zfs
  state: installed
  command: restart
  commandID: "7"
  nodeSelector: {disk: zfs}
  unit: |
    [Service]
    ExecStart=/usr/local/bin/alice
  dropIns:
  - name: 10-memory.conf
    content: |
      [Service]
      MemoryMax=1G
  files:
  - path: /etc/alice.conf
    content: "ä\\n"
    mode: 0600
    owner: alice
    group: 1000
  - path: /usr/local/bin/alice
    contentFrom: {silo: alice, sha256: ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789}
    mode: "755"
  - path: /etc/alice.bin
    contentBase64: |
      AAEC
      Aw==
  enabled: no
  onChange: reload
  deletionPolicy: orphan
  rollout: {maxUnavailable: 25%, paused: off}
"""


def as_object(**spec: Any) -> dict[str, Any]:
    """A small valid object, as the API server would give it."""
    return {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "x"},
        "spec": {"name": "x", **spec},
    }


def read(value: dict[str, Any]) -> manifest.Manifest:
    return parse_json(json.dumps(value).encode(), source="storage/x")


def refused(value: dict[str, Any]) -> InvalidManifest:
    with pytest.raises(InvalidManifest) as caught:
        read(value)
    return caught.value


# --- what is read ----------------------------------------------------------------------------------------------------


def test_every_field_is_read() -> None:
    [found] = parse_yaml(WHOLE.encode(), source="alice.yaml")
    spec = found.spec
    assert (found.metadata.namespace, found.metadata.name) == ("storage", "alice-zfs")
    assert found.metadata.labels == {"app": "zfs"}
    assert found.metadata.annotations == {"example.com/note": "a note"}
    assert (spec.name, spec.unit_name, spec.state) == (
        "alice-zfs",
        "alice-zfs.service",
        "installed",
    )
    assert (spec.command, spec.command_id) == ("restart", "7")
    assert (spec.node_name, spec.node_selector) == ("", {"disk": "zfs"})
    assert spec.unit == "[Service]\nExecStart=/usr/local/bin/alice\n"
    assert spec.drop_ins == (DropIn("10-memory.conf", "[Service]\nMemoryMax=1G\n"),)
    config, program, data = spec.files
    assert (config.path, config.inline_bytes()) == ("/etc/alice.conf", "ä\n".encode())
    assert (config.mode, config.permissions, config.owner, config.group) == (
        "0600",
        0o600,
        "alice",
        "1000",
    )
    assert program.inline_bytes() is None
    assert program.content_from is not None
    assert (program.content_from.silo, program.content_from.sha256[:8]) == ("alice", "abcdef01")
    assert program.permissions == 0o755
    assert data.inline_bytes() == b"\0\1\2\3"
    assert (data.permissions, data.owner, data.group) == (0o644, "root", "root")
    assert (spec.enabled, spec.on_change, spec.deletion_policy) == (False, "reload", "orphan")
    assert (spec.rollout.max_unavailable, spec.rollout.paused) == ("25%", False)


def test_omitted_fields_have_defaults() -> None:
    spec = read(as_object()).spec
    assert (spec.state, spec.command, spec.command_id) == ("installed", None, "")
    assert (spec.node_name, spec.node_selector, spec.unit) == ("", {}, None)
    assert (spec.drop_ins, spec.files, spec.enabled, spec.on_change) == ((), (), None, None)
    assert (spec.deletion_policy, spec.rollout.max_unavailable) == ("uninstall", 1)


def test_manifest_round_trips_through_json() -> None:
    [found] = parse_yaml(WHOLE.encode(), source="alice.yaml")
    data = to_json(found)
    assert parse_json(data, source="silo") == found
    assert to_json(parse_json(data, source="silo")) == data
    assert parse_yaml(data, source="JSON is YAML") == [found]


def test_api_server_metadata_and_status_are_dropped() -> None:
    value = as_object()
    value["metadata"] |= {
        "namespace": "storage", "uid": "0c5a…", "generation": 3, "creationTimestamp": "2026-11-22T21:50:00Z",
        "resourceVersion": "77", "managedFields": [{"fieldsV1": {"f:spec": {"f:name": {}}}}], "selfLink": "/x",
        "ownerReferences": [{"kind": "X"}], "finalizers": ["tambourine.dev/x"], "deletionTimestamp": "2026-…",
        "deletionGracePeriodSeconds": 0, "generateName": "x-",
    }  # fmt: skip
    value["status"] = {"active": "active (running)", "drop-in": "", "unknown": [1.5]}
    found = read(value)
    assert (found.metadata.uid, found.metadata.generation) == ("0c5a…", 3)
    assert found.metadata.creation_timestamp == "2026-11-22T21:50:00Z"
    assert b"status" not in to_json(found)
    assert b"managedFields" not in to_json(found)


def test_null_field_is_omitted() -> None:
    value = as_object(
        unit=None,
        files=None,
        dropIns=[{"name": "a.conf", "content": ""}],
        rollout={"paused": None},
    )
    value["metadata"]["creationTimestamp"] = None
    assert read(value).spec.drop_ins == (DropIn("a.conf", ""),)
    assert str(refused(as_object(name=None))) == 'storage/x: spec: missing field "name"'


def test_unknown_null_field_is_an_error() -> None:
    assert 'unknown field "colour"' in str(refused(as_object(colour=None)))
    assert 'unknown field "x"' in str(refused(as_object(rollout={"x": None})))


def test_documents_and_list_items_are_manifests() -> None:
    one = json.dumps(as_object(name="a"))
    two = "apiVersion: v1\nkind: List\nitems:\n- " + json.dumps(as_object(name="b"))
    text = f"---\n# nothing\n---\n{one}\n---\n{two}\n- {json.dumps(as_object(name='c'))}\n---\n"
    assert [found.spec.name for found in parse_yaml(text.encode(), source="-")] == ["a", "b", "c"]
    with pytest.raises(InvalidManifest, match="-: no manifest found"):
        parse_yaml(b"---\n# nothing\n", source="-")


# --- YAML as kubectl reads it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("On", True), ("y", True), ("TRUE", True), ("no", False), ("OFF", False), ("n", False),
        ("", None), ("~", None), ("null", None), ("nUll", "nUll"), ("yEs", "yEs"), ("nope", "nope"),
        ("0", 0), ("-1", -1), ("+7", 7), ("0644", 420), ("0o644", 420), ("0x1F", 31), ("0b101", 5), ("1_000", 1000),
        ("-0o10", -8), ("08", 8.0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), ("-", "-"), (".", "."),
        ("2026-11-22", "2026-11-22"), ("12:30:45", "12:30:45"), ("1.2.3", "1.2.3"), ("0644x", "0644x"), ("25%", "25%"),
        ("0o8", "0o8"), ("=", "="), ("<<", "<<"), ("0x", "0x"), ("-.5e-1", -0.05), ("9223372036854775807", 2**63 - 1),
    ],
)  # fmt: skip
def test_plain_scalars_resolve_as_in_kubectl(text: str, value: object) -> None:
    found = yamldocument.resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", [".nan", ".inf", "-.Inf", "1e999", "1" * 30, "9" * 5000, "0x" + "f" * 17]
)
def test_infinite_and_large_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        yamldocument.resolve(text)


def test_quoted_and_tagged_scalars_are_strings() -> None:
    text = WHOLE.replace('"7"', "!!str 7").replace("disk: zfs", '"on": "off", \'1\': !!str yes')
    [found] = parse_yaml(text.encode(), source="x")
    assert found.spec.command_id == "7"
    assert found.spec.node_selector == {"on": "off", "1": "yes"}


def test_aliases_are_expanded() -> None:
    text = WHOLE.replace("{app: zfs}", "&labels {disk: zfs}").replace(
        "nodeSelector: {disk: zfs}", "nodeSelector: *labels"
    )
    [found] = parse_yaml(text.encode(), source="x")
    assert found.spec.node_selector == found.metadata.labels == {"disk": "zfs"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("enabled: no", "enabld: no", 'f.yaml:35: spec: unknown field "enabld" (did you mean "enabled"?)'),
        ("kind:", "knid:", 'f.yaml:2: unknown field "knid" (did you mean "kind"?)'),
        ("namespace:", "namespce:", 'metadata: unknown field "namespce" (did you mean "namespace"?)'),
        ("owner:", "user:", 'f.yaml:26: spec.files[0]: unknown field "user"'),
        ("silo:", "sillo:", 'spec.files[1].contentFrom: unknown field "sillo" (did you mean "silo"?)'),
        ("paused:", "pause:", 'spec.rollout: unknown field "pause" (did you mean "paused"?)'),
        ("dropIns:", "drop_ins:", 'spec: unknown field "drop_ins" (did you mean "dropIns"?)'),
        ("state: installed", "state: instaled", "spec.state: expected installed or absent, got 'instaled'"),
        ("kind: Tambourine", "kind: Deployment", "kind: expected Tambourine, got 'Deployment'"),
        ("v1alpha1", "v1", "apiVersion: expected tambourine.dev/v1alpha1, got 'tambourine.dev/v1'"),
        ('commandID: "7"', "commandID: 7", 'f.yaml:12: spec.commandID: expected str, got int'),
        ("enabled: no", "enabled: 0", "spec.enabled: expected bool, got int"),
        ("command: restart", "command: start/stop", "expected start, stop, restart or reload, got 'start/stop'"),
        ("app: zfs", "app: yes", "metadata.labels[...]: expected str, got bool"),
        ("app: zfs", "yes: zfs", 'f.yaml:6: key yes is not a string: put quotes around it'),
        ("app: zfs", "1: zfs", "key 1 is not a string"),
        ("app: zfs", "[a]: zfs", "a key must be a string"),
        ("app: zfs", "? {a: b} : c", "a key must be a string"),
        ("app: zfs", "<<: {}", "merge keys (<<) are not supported"),
        ("app: zfs", "app: &a [*a]", "nested deeper than 64 levels"),
        ("app: zfs", "app: *nowhere", "not YAML: found undefined alias"),
        ("app: zfs", "app: !!python/object:os.system x", "tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("app: zfs", "app: !!binary aaaa", "tag tag:yaml.org,2002:binary is not supported"),
        ("{app: zfs}", "!!set {a}", "tag tag:yaml.org,2002:set is not supported"),
        ("app: zfs", "app: zfs, app: x", 'f.yaml:6: app: duplicate field "app"'),
        ("app: zfs", 'app: "\\0"', 'f.yaml:6: contains a NUL'),
        ("app: zfs", 'app: "\\ud800"', 'f.yaml:6: not YAML:'),
        ("app: zfs", "app: \x01", 'f.yaml:6: not YAML: control characters are not allowed'),
        ("app: zfs", "app: .nan", "number"),
        ("  name: alice-zfs\n  namespace", "\tname: alice\n  namespace", 'f.yaml:4: not YAML: found character'),
        ("files:", "files: {}\n  x:", "spec.files: expected array, got object"),
    ],
)  # fmt: skip
def test_yaml_errors_have_file_line_and_field(old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(InvalidManifest) as caught:
        parse_yaml(WHOLE.replace(old, new, 1).encode(), source="f.yaml")
    assert message in str(caught.value)
    assert caught.value.source.startswith("f.yaml")


# --- bounds and bytes ------------------------------------------------------------------------------------------------

JSON = json.dumps(as_object(unit=UNIT))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf" + JSON.encode(), "begins with a byte order mark"),
        (JSON.encode("utf-16"), "begins with a byte order mark"),
        (JSON.encode().replace(b"x", b"\xff"), "not UTF-8: byte 0xff"),
        (JSON.encode() + b"\0", "contains a NUL"),
        (JSON.encode().replace(b'"x"', b'"\\u0000"'), ": contains a NUL"),
        (JSON.encode().replace(b'"x"', b'"\\ud800"'), ": contains half of a surrogate pair"),
        (JSON.encode().replace(b'"kind"', b'"\\udc00"'), "a field's name contains half of a surrogate pair"),
        (JSON.encode() + b"{}", "not JSON: Extra data (line 1, column"),
        (JSON.encode()[:-1], "not JSON: Expecting"),
        (JSON.encode().replace(b'"kind"', b'"apiVersion"'), 'apiVersion: duplicate field "apiVersion"'),
        (b"NaN", "NaN is not a JSON value"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON value"),
        (b'{"a": 1e999}', "number 1e999 is too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "number 111111111111111111… is too large"),
        (b"[]", "expected object, got array"),
        (b"3", "expected object, got int"),
        (b"null", "expected object, got null"),
        (b"[" * 10_000 + b"]" * 10_000, "nested deeper than 64 levels"),
        (b'{"a":' * 10_000, "nested deeper than 64 levels"),
        (b'{"a": "' + b"[" * 10_000 + b'"}', 'unknown field "a" (did you mean'),
        (b'"' + b'\\"' * 400_000, "not JSON: Unterminated string"),
        (b"[" + b"1," * 60_000 + b"1]", "more than 50000 values"),
        (b" " * (1 << 20) + b"{}", "larger than 1 MiB (1048578 bytes)"),
        (b"x" * 10_000_000, "larger than 1 MiB (10000000 bytes)"),
    ],
)  # fmt: skip
def test_invalid_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_json(data, source="storage/x")
    assert str(caught.value).startswith("storage/x")
    assert message.replace(" (did you mean", "") in str(caught.value)


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10_000, 'nested deeper than 64 levels'),
        ("".join("  " * level + "a:\n" for level in range(100)), 'f:65: nested deeper than 64 levels'),
        ("- " * 10_000, "nested deeper than 64 levels"),
        (BOMB, 'f:6: more than 50000 values, aliases unfolded'),
        ("a: &a " + "x" * 1000 + "\nb: [" + "*a, " * 2000 + "]", "larger than 1 MiB, aliases unfolded"),
        ("a: |\n" + "  xxxxxxxxxxxxxxx\n" * 600_000, 'f:1: larger than 1 MiB'),
        ("a: |\n" + "  ääääääää\n" * 80_000, 'f:1: larger than 1 MiB'),
        ("x" * (17 << 20), "larger than 16 MiB"),
        ("---\n" * 10_001, "more than 10000 documents"),
        ("- 1\n" * 60_000, "more than 50000 values"),
        ("\ufeffa: b", "begins with a byte order mark"),
        ("a: b\n\0", 'f:2: contains a NUL'),
        ("%YAML 9.9\n---\na", 'f:1: not YAML: found incompatible YAML document'),
        ("a: b\n---\n" + "%TAG !x! tag:x\n" * 100_000, 'f:3: not YAML: only the directive %YAML'),
        ("a: 'b", "not YAML: found unexpected end of stream"),
        ("a: b\n- c", 'f:2: not YAML:'),
        ("just text", "expected object, got str"),
        ("- a", "expected object, got array"),
        ("kind: List\nitems: 3", 'f:2: items: expected array'),
        ("kind: List\nitems: [3]", "expected object, got int"),
        ("kind: List\nitems: []", "no manifest found"),
    ],
)  # fmt: skip
def test_invalid_or_unbounded_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_yaml(text.encode(), source="f")
    assert str(caught.value).startswith("f")
    assert message in str(caught.value)


def test_manifest_too_large_for_the_silo_is_refused() -> None:
    """Control characters are longer in JSON than in YAML: what is read can always be stored and read again."""
    text = WHOLE.replace('"ä\\n"', '"' + "\\a" * 190_000 + '"')
    assert len(text) < document.MAX_BYTES
    with pytest.raises(InvalidManifest, match=r"f:1: larger than 1 MiB as JSON"):
        parse_yaml(text.encode(), source="f")


def test_limits_of_files_and_drop_ins() -> None:
    files = [{"path": f"/etc/{i}", "content": ""} for i in range(257)]
    drop_ins = [{"name": f"{i}.conf", "content": ""} for i in range(65)]
    assert len(read(as_object(files=files[:-1], dropIns=drop_ins[:-1])).spec.files) == 256
    assert "spec.files: expected array of length <= 256" in str(refused(as_object(files=files)))
    assert "spec.dropIns: expected array of length <= 64" in str(
        refused(as_object(dropIns=drop_ins))
    )


# --- rules -----------------------------------------------------------------------------------------------------------

A = {"path": "/etc/a", "content": ""}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "a b"}, "a unit name may have letters, digits"),
        ({"name": ""}, "spec.name: a unit name must not be empty before its suffix"),
        ({"name": "a.device"}, "units of type device cannot be managed: devices are made by udev"),
        ({"name": "x" * 248}, "a unit name has at most 255 bytes, its suffix included"),
        ({"name": "../x"}, "a unit name may have letters"),
        ({"name": "tambourine"}, "tambourine.service is part of Tambourine"),
        ({"name": "run-tambourine-proc.mount"}, "is part of Tambourine"),
        ({"name": "x@.service", "command": "start"}, "x@.service is a template: it can be installed, but not commanded"),
        ({"commandID": "1"}, "spec.commandID: commandID requires command"),
        ({"command": "start", "commandID": "x" * 129}, "must have at most 128 characters"),
        ({"command": "start", "commandID": "a\nb"}, "spec.commandID: must have at most 128 characters and no control"),
        ({"nodeName": "n1", "nodeSelector": {"a": "b"}}, "nodeName and nodeSelector are mutually exclusive"),
        ({"nodeName": "N 1"}, "a name has at most 253"),
        ({"nodeSelector": {"a b": ""}}, "a label's key has at most 63"),
        ({"unit": ""}, "a unit must have at least one section"),
        ({"unit": "ExecStart=/bin/true"}, "a unit must have at least one section"),
        ({"unit": "[Service"}, "spec.unit: line 1: bad section header [Service"),
        ({"unit": "[X-Tambourine]\n" + UNIT}, "the section [X-Tambourine] is reserved for Tambourine"),
        ({"unit": UNIT + "[Install]\nAlias=tambourine.service"}, "Alias= or Also= names tambourine.service"),
        ({"dropIns": [{"name": "a", "content": ""}]}, "a drop-in's name must end in .conf"),
        ({"dropIns": [{"name": ".conf", "content": ""}]}, "must not begin with a dot"),
        ({"dropIns": [{"name": "../a.conf", "content": ""}]}, "spec.dropIns[0].name: a file name must be"),
        ({"dropIns": [{"name": "x" * 251 + ".conf", "content": ""}]}, "at most 255 bytes"),
        ({"dropIns": [{"name": "a\n.conf", "content": ""}]}, "must not have control characters"),
        ({"dropIns": [{"name": "a.conf", "content": ""}] * 2}, 'spec.dropIns[1].name: duplicate drop-in "a.conf"'),
        ({"dropIns": [{"name": "a.conf", "content": "A=1"}]}, "settings must be in a section"),
        ({"dropIns": [{"name": "a.conf"}]}, 'spec.dropIns[0]: missing field "content"'),
        ({"files": [{"path": "etc/a", "content": ""}]}, "spec.files[0].path: a path must be absolute"),
        ({"files": [{"path": "/etc/../a", "content": ""}]}, "a path must be normalised"),
        ({"files": [{"path": "/etc/a\nb", "content": ""}]}, "must not have control characters"),
        ({"files": [{"path": "/etc/" + "x" * 256, "content": ""}]}, "at most 255 bytes"),
        ({"files": [A, A]}, "spec.files[1].path: duplicate path /etc/a"),
        ({"files": [A, {"path": "/etc/a/b/c", "content": ""}]}, "/etc/a is a file and cannot be a directory of /etc/a/b"),
        ({"files": [{"path": "/etc/a"}]}, "spec.files[0]: exactly one of content, contentBase64 and contentFrom"),
        ({"files": [A | {"contentBase64": ""}]}, "exactly one of"),
        ({"files": [{"path": "/etc/a", "contentBase64": "a"}]}, "not base64: "),
        ({"files": [{"path": "/etc/a", "contentBase64": "ä==="}]}, "not base64: "),
        ({"files": [{"path": "/etc/a", "contentBase64": "YQ =="}]}, "not base64: "),
        ({"files": [{"path": "/etc/a", "contentFrom": {"silo": "../a", "sha256": "0" * 64}}]}, "one path component"),
        ({"files": [{"path": "/etc/a", "contentFrom": {"silo": "tambourine.json", "sha256": "0" * 64}}]}, "payload must"),
        ({"files": [{"path": "/etc/a", "contentFrom": {"silo": "a", "sha256": "0" * 63}}]}, "must be 64 hexadecimal digits"),
        ({"files": [A | {"mode": 644}]}, "spec.files[0].mode: mode 644 is 0o1204 in octal"),
        ({"files": [A | {"mode": 400}]}, "mode 400 is 0o620 in octal"),
        ({"files": [A | {"mode": -1}]}, "must not be negative"),
        ({"files": [A | {"mode": "4755"}]}, "must be 0000 to 0777"),
        ({"files": [A | {"mode": "0o644"}]}, "must be 0000 to 0777"),
        ({"files": [A | {"mode": "rw-r--r--"}]}, "must be 0000 to 0777"),
        ({"files": [A | {"mode": True}]}, "spec.files[0].mode: expected str, got bool"),
        ({"files": [A | {"mode": 420.0}]}, "expected str, got float"),
        ({"files": [A | {"owner": "a b"}]}, "must be the name or number of a user"),
        ({"files": [A | {"group": ""}]}, "must be the name or number of a group"),
        ({"files": [A | {"group": -1}]}, "must be the name or number of a group"),
        ({"files": [A | {"owner": 4294967295}]}, "must be the name or number of a user"),
        ({"files": ["x"]}, "spec.files[0]: expected object, got str"),
        ({"rollout": {"maxUnavailable": 0}}, "a positive number of nodes or a percentage"),
        ({"rollout": {"maxUnavailable": 10**17}}, "a positive number of nodes or a percentage"),
        ({"rollout": {"maxUnavailable": "101%"}}, "a positive number of nodes"),
        ({"rollout": {"maxUnavailable": "0%"}}, "a positive number of nodes"),
        ({"onChange": "nothing"}, "spec.onChange: expected restart, reload or none, got 'nothing'"),
    ],
)  # fmt: skip
def test_rules_of_the_spec(spec: dict[str, Any], message: str) -> None:
    error = refused(as_object(**spec))
    assert message in str(error)
    assert str(error).startswith("storage/x: ")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, 'metadata: missing field "name"'),
        ({"name": "A"}, "a name has at most 253 lower case letters"),
        ({"name": "x/y"}, "a name has at most 253"),
        ({"name": ".."}, "a name has at most 253"),
        ({"name": "x", "namespace": "a.b"}, "a namespace has at most 63"),
        ({"name": "x", "namespace": "a" * 64}, "a namespace has at most 63"),
        ({"name": "x", "generation": -1}, "metadata.generation: expected int >= 0"),
        (
            {"name": "x", "generation": 2**54},
            "metadata.generation: expected int <= 9007199254740992",
        ),
        ({"name": "x", "uid": "u" * 129}, "must have at most 128 characters"),
        ({"name": "x", "labels": {"a": "b c"}}, "a label's value"),
        ({"name": "x", "annotations": {"a b": "c"}}, "a label's key"),
        ({"name": "x", "creationTimestamp": "yesterday"}, "must be a time as in RFC 3339"),
        ({"name": "x", "nmae": "y"}, 'metadata: unknown field "nmae" (did you mean "name"?)'),
    ],
)
def test_rules_of_the_metadata(metadata: dict[str, Any], message: str) -> None:
    assert message in str(refused(as_object() | {"metadata": metadata}))


def test_error_has_source_and_field() -> None:
    error = refused(as_object(files="x"))
    assert str(error) == "storage/x: spec.files: expected array, got str"
    assert (error.source, error.field) == ("storage/x", "spec.files")


def test_field_names_are_escaped_in_errors() -> None:
    message = str(refused(as_object() | {"\x1b[2J" + "x" * 500: 1}))
    assert "\x1b" not in message
    assert len(message) < 200


@pytest.mark.parametrize("mode", [0, 420, 493, 384, "0644", "644", "0000", "0620"])
def test_mode_is_normalised(mode: int | str) -> None:
    found = read(as_object(files=[A | {"mode": mode}]))
    expected = mode if isinstance(mode, int) else int(mode, 8)
    assert found.spec.files[0].permissions == expected
    assert found.spec.files[0].mode == f"{expected:04o}"
    assert parse_json(to_json(found), source="") == found


def test_command_id_is_valid_with_every_command() -> None:
    for command in ("start", "stop", "restart", "reload"):
        assert read(as_object(command=command, commandID="1")).spec.command_id == "1"


def test_template_is_installed_and_instance_commanded() -> None:
    assert read(as_object(name="x@", unit=UNIT)).spec.unit_name == "x@.service"
    assert read(as_object(name="x@a.timer", command="start")).spec.unit_name == "x@a.timer"


# --- what is derived -------------------------------------------------------------------------------------------------


def test_content_digest() -> None:
    base = as_object(unit=UNIT, files=[A, A | {"path": "/etc/b"}])
    digest = content_digest(read(base))
    assert len(digest) == 64
    same: list[dict[str, Any]] = [
        {"state": "absent"}, {"command": "restart", "commandID": "9"}, {"nodeName": "n"}, {"nodeSelector": {"a": "b"}},
        {"rollout": {"paused": True}}, {"files": [A | {"path": "/etc/b"}, A]}, {"name": "x.service"},
    ]  # fmt: skip
    for change in same:
        assert content_digest(read(base | {"spec": base["spec"] | change})) == digest, change
    other: list[dict[str, Any]] = [
        {"name": "y"}, {"unit": UNIT + "#"}, {"files": []}, {"files": [A, A | {"path": "/etc/b", "mode": 0o600}]},
        {"dropIns": [{"name": "a.conf", "content": ""}]}, {"enabled": True}, {"enabled": False}, {"onChange": "none"},
        {"deletionPolicy": "orphan"}, {"unit": None},
    ]  # fmt: skip
    digests = {content_digest(read(base | {"spec": base["spec"] | change})) for change in other}
    assert len(digests | {digest}) == len(other) + 1
    renamed = base | {"metadata": {"name": "z", "generation": 9, "labels": {"a": "b"}}}
    assert content_digest(read(renamed)) == digest


def test_manifest_with_unit_claims_its_names() -> None:
    drop_in = {"name": "a.conf", "content": "[Install]\nAlias=z.service\n"}
    brought = read(
        as_object(unit=UNIT + "[Install]\nAlias=y.service\nAlso=x.socket", dropIns=[drop_in])
    )
    assert names_claimed(brought) == {"x.service", "y.service", "z.service", "x.socket"}
    assert names_claimed(read(as_object(command="start"))) == frozenset()
    assert drop_ins_claimed(brought) == {("x.service", "a.conf")}


def test_texts_are_in_systemd_order() -> None:
    drop_ins = [{"name": "b.conf", "content": "[B]\n"}, {"name": "a.conf", "content": "[A]\n"}]
    assert read(as_object(unit=UNIT, dropIns=drop_ins)).spec.texts == (UNIT, "[A]\n", "[B]\n")
    assert File(path="/x", content="a").inline_bytes() == b"a"


def test_reference_has_every_field_and_bound() -> None:
    reference = (Path(__file__).parents[2] / "docs/manifest.md").read_text()
    for struct in schema.STRUCTS.values():
        for name in struct.__struct_encode_fields__:
            assert name in reference, name
    for names_of_choice in schema.CHOICES.values():
        for name in names_of_choice:
            assert name in reference, name
    for field in schema.SERVER_FIELDS:
        assert f"`{field}`" in reference, field
    for bound in (schema.MAX_FILES, schema.MAX_DROP_INS, document.MAX_DEPTH, rules.MAX_ID):
        assert str(bound) in reference, bound
