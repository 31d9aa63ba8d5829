"""`tambourine join`: makes this host a node of a cluster, with a join token of its administrator."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from tambourinefs.cli.admin.options import allow_namespace_option
from tambourinefs.cli.common.invitation import MAX_TOKEN, Invitation
from tambourinefs.errors import HostError
from tambourinefs.model import paths


@click.command()
@click.argument("token")
@allow_namespace_option
@click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=120.0,
    show_default=True,
    help="Seconds to wait for the certificate.",
)
def join(token: str, allow_namespaces: tuple[str, ...], timeout: float) -> None:
    """Make this host a node of a cluster.

    TOKEN is in the command that `kubectl tambourine join NODE` prints; use - to read it from standard input, so that it
    does not appear in process lists. The private key is created on this host and never leaves it; the cluster signs the
    certificate. Then tambourine-sync starts. Only namespaces named by --allow-namespace can manage services here.

    \b
    Examples:
      tambourine join --allow-namespace storage TOKEN
      tambourine join - < token

    \b
    Exit codes: 0 joined, 1 failure, 2 invalid token or namespace, 3 the cluster refuses the token,
    4 the API server cannot be reached.
    """
    import tempfile

    from tambourinefs.install import check, host
    from tambourinefs.install.ledger import FILE, Ledger
    from tambourinefs.install.plan import Changes, Options

    if token == "-":  # noqa: S105
        token = sys.stdin.read(MAX_TOKEN + 1).strip()
    invitation = Invitation.decode(token)
    options = Options(allow_namespaces=allow_namespaces, node_name=invitation.node)
    check.check_names(options)
    if os.geteuid() != 0:
        raise HostError("tambourine join must run as root", hint="run it with sudo")
    if not host.COMMAND.exists():
        raise HostError(
            "Tambourine is not installed on this host", hint="run `tambourine install` first"
        )
    pem = _ask(invitation, timeout)
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        kubeconfig = Path(directory, "kubeconfig")
        kubeconfig.write_text(_kubeconfig(invitation, identity=True))
        options = replace(options, kubeconfig=kubeconfig)
        changes = Changes(Ledger(FILE))
        changes.note()
        host.lay_identity(pem)
        host.configuration(options, changes)
        host.cluster(options, changes)
        host.start(changes)
        host.healthy()
    click.echo(f"{invitation.node} has joined {invitation.server}")
    if not allow_namespaces:
        click.echo(
            "No namespace of the cluster is allowed yet: run `tambourine install --allow-namespace NAMESPACE`, or set "
            f"agent.namespaces in {paths.CONFIG}"
        )
    click.echo(f"Next: kubectl get tambourinenode {invitation.node}")


def _ask(invitation: Invitation, timeout: float) -> bytes:
    import tempfile

    from tambourinefs import __version__
    from tambourinefs.kube import csr
    from tambourinefs.kube.api import connect
    from tambourinefs.kube.errors import Forbidden, Unauthorized

    # In memory only (/run), for root.
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        kubeconfig = Path(directory, "kubeconfig")
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(_kubeconfig(invitation, identity=False))
        api = connect(kubeconfig, user_agent=f"tambourine-join/{__version__}")
        try:
            return csr.request(api, invitation.node, seconds=timeout, progress=_say)
        except (Unauthorized, Forbidden) as error:
            raise type(error)(
                f"the API server rejects the join token: {error.message}",
                hint="it is valid for an hour and for one use; for another: "
                f"kubectl tambourine join {invitation.node}",
            ) from error


def _say(text: str) -> None:
    click.echo(text, err=True)


def _kubeconfig(invitation: Invitation, *, identity: bool) -> str:
    """With the join token; with `identity`, the certificate file that sync renews."""
    from base64 import b64encode

    user: dict[str, str] = {"token": invitation.token}
    if identity:
        file = str(paths.IDENTITY)
        user = {"client-certificate": file, "client-key": file}
    cluster = {
        "server": invitation.server,
        "certificate-authority-data": b64encode(invitation.ca.encode()).decode(),
    }
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "node", "user": user}],
        "contexts": [{"name": "node", "context": {"cluster": "cluster", "user": "node"}}],
        "current-context": "node",
    }
    return json.dumps(found, indent=2) + "\n"
