"""What the host's administrator allows, as a table; and who has which name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tambourinefs.agent.admission import fieldpath
from tambourinefs.agent.admission.conflicts import claims, conflict, owners
from tambourinefs.agent.admission.policy import Policy, refusal
from tambourinefs.model.config import DENIED_UNITS
from tambourinefs.model.manifest import API_VERSION, KIND, Manifest, Metadata, Spec
from tambourinefs.model.schema import DropIn, File

UNIT = "[Service]\nExecStart=/bin/true\n"
RULES = Policy(denied_units=DENIED_UNITS, writers=("bombshell", "61000"))


def manifest(
    namespace: str = "local", metadata_name: str = "x", created: str = "", **spec: Any
) -> Manifest:
    meta = Metadata(metadata_name, namespace, creation_timestamp=created)
    return Manifest(API_VERSION, KIND, meta, Spec(**{"name": "x", **spec}))


def files(*paths: str) -> tuple[File, ...]:
    return tuple(File(path, content="") for path in paths)


ALLOWED = [
    {"unit": UNIT, "command": "start"},
    {"name": "ssh"},  # observed
    {"name": "systemd-journald", "deletion_policy": "orphan"},
    {"files": files("/etc/x", "/usr/local/bin/x", "/opt/x/y", "/var/lib/x")},
    {"unit": UNIT + "Environment=PROC=/run/tambourine/proc\n"},
    {"unit": "[Service]\nExecStart=/bin/cat /run/tambourine/proc/services.txt\n"},
    {"unit": UNIT + "User=nobody\n"},
    {"unit": UNIT + "User=%i\n", "name": "x@"},
    {"unit": UNIT + "EnvironmentFile=/etc/%H/env\n[Install]\nWantedBy=sysinit.target\n"},
    {"name": "srv-data.mount", "unit": "[Mount]\nWhat=/dev/sdb1\n"},
    {"name": "var-lib.mount"},  # observed
    {"unit": "[Unit]\nBefore=a.service multi-user.target\nAfter=tambourine.service\n" + UNIT},
    {"name": "a.socket", "unit": "[Socket]\nListenStream=/run/%N.sock\nListenStream=8080\n"},
    {"name": "tambo-", "drop_ins": (DropIn("x.conf", ""),)},
    {"files": files("/etc/tmpfiles.d/mine.conf")},
]
REFUSED = [
    {"name": "ssh", "command": "restart"},
    {"name": "kubelet", "drop_ins": (DropIn("x.conf", ""),)},
    {"name": "systemd-logind", "enabled": False},
    {"name": "NetworkManager", "files": files("/etc/NetworkManager/x")},
    {"name": "tambourine", "command": "restart"},
    {"unit": UNIT + "[Install]\nAlias=sshd.service\n"},
    {"unit": UNIT + "[Install]\nAlso=ssh.socket\n"},
    {"files": files("/usr/bin/x")},
    {"files": files("/etcetera")},
    {"files": files("/etc/tambourine/config.toml")},
    {"files": files("/etc/tambourine/pki/ca.crt")},
    {"files": files("/var/lib/tambourine/agent/services/x")},
    {"files": files("/var/lib/tambourine/store/x")},
    {"files": files("/etc/systemd/system/x.service")},
    {"files": files("/etc/systemd/system")},
    {"files": files("/usr/local/lib/systemd/system/x.service")},
    {"files": files("/opt/tambourine/bin/tambourine")},
    {"files": files("/proc/sys/kernel/core_pattern")},
    {"unit": UNIT + "User=bombshell\n"},
    {"unit": UNIT + "User=61000\n"},
    {"unit": UNIT, "drop_ins": (DropIn("x.conf", "[Service]\nUser=bombshell\n"),)},
    {"name": "bombshell", "unit": UNIT + "DynamicUser=yes\n"},
    {"unit": UNIT + "EnvironmentFile=-/run/tambourine/proc/local/x/pid\n"},
    {"unit": UNIT + "EnvironmentFile=%t/../run/tambourine//proc/version.txt\n"},
    {"unit": "[Unit]\nConditionPathExists=|!/proc/tambourine/x\n" + UNIT},
    {"unit": "[Unit]\nConditionPathExistsGlob=/run/*/proc/*\n" + UNIT},
    {"unit": "[Unit]\nConflicts=tambourine.service\n" + UNIT},
    {"unit": "[Unit]\nBefore=a.service tambourine.service\n" + UNIT},
    {"unit": UNIT, "drop_ins": (DropIn("x.conf", "[Unit]\nBefore=tambourine-silo.service\n"),)},
    {"name": "a.socket", "unit": "[Socket]\nListenStream=/run/tambourine/bombshell/x.sock\n"},
    # Drop-ins of a prefix and of a template are those of many.
    {"name": "tambourine-", "drop_ins": (DropIn("x.conf", ""),)},
    {"name": "proc-.mount", "drop_ins": (DropIn("x.conf", ""),)},
    {"name": "cri-", "drop_ins": (DropIn("x.conf", ""),)},
    {"name": "soft-.target", "drop_ins": (DropIn("x.conf", ""),)},
    {"unit": UNIT + "[Install]\nRequiredBy=sysinit.target\n"},
    {"unit": UNIT + "[Install]\nRequiredBy=tambourine.service\n"},
    # %w is VARIANT_ID of os-release(5), which most hosts leave out.
    {"unit": UNIT + "[Install]\nAlias=ss%wh.service\n"},
    {"unit": UNIT + "[Install]\nRequiredBy=ss%wh.service\n"},
    {"unit": UNIT + "User=bomb%wshell\n"},
    {"unit": UNIT + "EnvironmentFile=/run/tam%wbourine/proc/version.txt\n"},
    {"unit": UNIT + "RuntimeDirectory=tam%wbourine\n"},
    {"name": "x@bombshell", "command": "start"},
    {"name": "var-lib.mount", "unit": "[Mount]\nWhat=tmpfs\nType=tmpfs\n"},  # Where= is implied
    {"name": "run.mount", "command": "stop"},
    {"name": "runlevel6.target", "command": "start"},  # a name of reboot.target
    {"files": files("/usr/local/bin/tambourine")},
    {"files": files("/etc/tmpfiles.d/tambourine.conf")},
]  # fmt: skip


@pytest.mark.parametrize("spec", ALLOWED, ids=str)
def test_allowed(spec: dict[str, Any]) -> None:
    assert refusal(manifest(**spec), RULES) is None


@pytest.mark.parametrize("spec", REFUSED, ids=str)
def test_refused(spec: dict[str, Any]) -> None:
    said = refusal(manifest(**spec), RULES)
    assert said is not None
    assert said.reason == "DeniedByPolicy"
    assert said.message


@pytest.mark.parametrize(
    ("spec", "begins"),
    [
        ({"name": "ssh", "command": "stop"}, "spec.name: ssh.service may only be observed"),
        ({"name": "run.mount", "command": "stop"}, "spec.name: run.mount mounts over"),
        (
            {"unit": UNIT, "files": (*files("/etc/ok"), *files("/etc/tambourine/x"))},
            "spec.files[1].path: /etc/tambourine/x is at or below /etc/tambourine, where no file is allowed",
        ),
        ({"unit": UNIT + "User=bombshell\n"}, "spec.unit: User=bombshell"),
        ({"drop_ins": (DropIn("x.conf", "[Service]\nUser=bombshell\n"),)}, "spec.dropIns[0].content: User="),
        ({"unit": UNIT + "[Install]\nAlias=ssh.service\n"}, "spec.unit: Alias= or Also= names ssh.service"),
        # systemd reads them as one: neither is to blame alone.
        ({"unit": UNIT + "User=bombshell\n", "drop_ins": (DropIn("x.conf", ""),)}, "User=bombshell"),
    ],
)  # fmt: skip
def test_a_denial_begins_with_the_field_that_it_is_about(spec: dict[str, Any], begins: str) -> None:
    said = refusal(manifest(**spec), RULES)
    assert said is not None
    assert said.message.startswith(begins)


@pytest.mark.parametrize(
    ("claim", "path"),
    [
        ("unit x.service", "spec.name"),
        ("unit y.service", ""),  # by Alias= of the unit or of a drop-in
        ("drop-in x.service.d/20-b.conf", "spec.dropIns[1].name"),
        ("file /etc/g", "spec.files[1].path"),
    ],
)
def test_a_name_that_is_taken_is_found_in_the_manifest(claim: str, path: str) -> None:
    text = UNIT + "[Install]\nAlias=y.service\n"
    drop_ins = (DropIn("10-a.conf", ""), DropIn("20-b.conf", ""))
    wanted = manifest(unit=text, drop_ins=drop_ins, files=(*files("/etc/f"), *files("/etc/g")))
    assert claim in claims(wanted)
    assert fieldpath.of_claim(wanted.spec, claim) == path
    alone = manifest(unit=text)
    assert fieldpath.of_claim(alone.spec, "unit y.service") == "spec.unit"


def test_the_administrator_lifts_a_denial_but_never_for_tambourine_itself() -> None:
    rules = Policy(denied_units=DENIED_UNITS, allowed_units=("ssh.service", "*"))
    assert refusal(manifest(name="ssh", command="restart"), rules) is None
    assert refusal(manifest(name="tambourine-silo", command="restart"), rules) is not None


def test_a_denial_of_a_template_or_of_an_instance_covers_what_would_change_it() -> None:
    drop_ins = (DropIn("x.conf", ""),)
    template, instance = (
        Policy(denied_units=("db@.service",)),
        Policy(denied_units=("db@1.service",)),
    )
    assert refusal(manifest(name="db@1", command="stop"), template) is not None
    assert refusal(manifest(name="db@", drop_ins=drop_ins), instance) is not None
    assert refusal(manifest(name="db@2", drop_ins=drop_ins), instance) is None
    prefixes = Policy(denied_units=("a-b-*", "c-d*.socket"))
    assert refusal(manifest(name="a-", drop_ins=drop_ins), prefixes) is not None
    assert refusal(manifest(name="c-.socket", drop_ins=drop_ins), prefixes) is not None
    assert refusal(manifest(name="c-", drop_ins=drop_ins), prefixes) is None


@pytest.mark.parametrize(
    ("namespaces", "namespace", "allowed"),
    [
        (("local",), "local", True), (("local",), "storage", False), (("storage",), "storage", True),
        (("*",), "storage", True), (("*",), "local", False), ((), "local", False),
    ],
)  # fmt: skip
def test_namespaces(namespaces: tuple[str, ...], namespace: str, allowed: bool) -> None:
    said = refusal(manifest(namespace, unit=UNIT), Policy(namespaces=namespaces))
    assert (said is None) == allowed
    assert said is None or said.reason == "NamespaceNotAllowed"


def test_what_is_claimed() -> None:
    text = UNIT + "[Install]\nAlias=y.service\nAlso=z.socket\n"
    wanted = manifest(unit=text, drop_ins=(DropIn("10-a.conf", ""),), files=files("/etc/f"))
    assert claims(wanted) == (
        "drop-in x.service.d/10-a.conf", "file /etc/f", "unit x.service", "unit y.service", "unit z.socket",
    )  # fmt: skip
    assert claims(manifest(command="restart")) == ()


def test_drop_ins_on_one_unit_conflict_only_by_name() -> None:
    one = manifest(metadata_name="a", drop_ins=(DropIn("10-a.conf", ""),))
    same = manifest(metadata_name="b", drop_ins=(DropIn("10-a.conf", ""),))
    other = manifest(metadata_name="c", drop_ins=(DropIn("20-a.conf", ""),))
    taken = owners({}, {("local", m.metadata.name): (m, claims(m)) for m in (same, other, one)})
    assert conflict(("local", "a"), claims(one), taken) is None
    assert conflict(("local", "b"), claims(same), taken) == (
        "drop-in x.service.d/10-a.conf",
        ("local", "a"),
    )
    assert conflict(("local", "c"), claims(other), taken) is None


TIMES = st.sampled_from(["", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"])


@given(
    st.permutations(range(6)),
    st.lists(st.tuples(st.sampled_from(["local", "storage"]), TIMES), min_size=6, max_size=6),
)
def test_the_owner_does_not_depend_on_the_order_of_arrival(
    order: list[int], facts: list[tuple[str, str]]
) -> None:
    all_of_them = [
        manifest(ns, f"n{i}", created, unit=UNIT) for i, (ns, created) in enumerate(facts)
    ]
    waiting = {
        (m.metadata.namespace, m.metadata.name): (m, claims(m))
        for m in (all_of_them[i] for i in order)
    }
    first = min(all_of_them, key=lambda m: (
        m.metadata.namespace != "local", not m.metadata.creation_timestamp,
        m.metadata.creation_timestamp, m.metadata.namespace, m.metadata.name,
    ))  # fmt: skip
    assert owners({}, waiting)["unit x.service"] == (first.metadata.namespace, first.metadata.name)
    assert owners({"unit x.service": ("z", "z")}, waiting)["unit x.service"] == ("z", "z")
