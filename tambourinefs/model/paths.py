"""The paths of Tambourine on a host."""

from __future__ import annotations

from pathlib import PurePosixPath as P
from typing import Final

CONFIG: Final = P("/etc/tambourine/config.toml")
CONFIG_DIR: Final = P("/etc/tambourine/config.d")
PKI: Final = P("/etc/tambourine/pki")
STATE: Final = P("/var/lib/tambourine")
STORE: Final = STATE / "store"  # the silo's backing store, root:root 0700
SILO: Final = STATE / "silo"  # the silo mount
AGENT_STATE: Final = STATE / "agent"  # applied state
RUN: Final = P("/run/tambourine")  # from tmpfiles.d, not RuntimeDirectory=
PROC: Final = RUN / "proc"  # the status mount
PROC_LITERAL: Final = P("/proc/tambourine")  # a bind mount of PROC; needs the kernel module
KUBECONFIG: Final = P("/etc/tambourine/kubernetes/kubeconfig")
IDENTITY: Final = STATE / "identity" / "node.pem"  # key and certificate of the node, sync's own
EXPIRATIONS: Final = "expirations.json"  # beside certificates: {name: end in seconds since 1970}
SYNC_LOCK: Final = RUN / "sync" / "lock"
SOCKET: Final = RUN / "bombshell" / "bombshell.sock"
PREFIX: Final = P("/opt/tambourine")  # the private Python environment
UNITS: Final = P("/etc/systemd/system")  # of managed units

SILO_ID_FILE: Final = ".tambourine-silo"  # the store's UUID, synthetic
MANIFEST_FILE: Final = "tambourine.json"

GROUP: Final = "tambourine"  # may connect to Bombshell: equivalent to root
BOMBSHELL_USER: Final = "bombshell"
SYNC_USER: Final = "tambourine-sync"
OWN_UNITS: Final = (
    "tambourine.service",
    "tambourine-silo.service",
    "tambourine-bombshell.service",
    "tambourine-sync.service",
    "tambourine-pki-renew.service",
    "tambourine-pki-renew.timer",
    "proc-tambourine.mount",
    "tambourine-first-boot.service",
    "tambourine-module.service",
)
