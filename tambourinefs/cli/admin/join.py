"""`tambourine join`: this host becomes a node of a cluster, by a token that the cluster's administrator made for it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from tambourinefs.cli.common.invitation import MAX_TOKEN, Invitation
from tambourinefs.errors import HostError
from tambourinefs.model import paths


@click.command()
@click.argument("token")
@click.option(
    "--respect",
    multiple=True,
    metavar="NAMESPACE",
    help='Obey this namespace of the cluster ("*": all; several: give it again). Who may write there is root here.',
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=120.0,
    show_default=True,
    help="Seconds to wait for the certificate.",
)
def join(token: str, respect: tuple[str, ...], timeout: float) -> None:
    """Make this host a node of a cluster.

    TOKEN is what `kubectl tambourine join NODE` prints, with the command around it; - reads it from standard input, where
    no list of processes shows it. A key is made here and stays here; the cluster signs its certificate. Then
    tambourine-sync starts. Nothing that runs on this host is touched, and nothing will be but for the namespaces that
    --respect names.
    """
    from tambourinefs.install import check, host
    from tambourinefs.install.ledger import FILE, Ledger
    from tambourinefs.install.plan import Changes, Options

    if token == "-":  # noqa: S105
        token = sys.stdin.read(MAX_TOKEN + 1).strip()
    invitation = Invitation.decode(token)
    options = Options(respect=respect, node_name=invitation.node)
    check.check_names(options)
    if os.geteuid() != 0:
        raise HostError("joining needs root", hint="Run it with sudo.")
    if not host.COMMAND.exists():
        raise HostError("Tambourine is not installed on this host", hint="tambourine install")
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
    if not respect:
        click.echo(
            "it obeys no namespace of the cluster yet: tambourine install --respect NAMESPACE, or agent.namespaces in "
            f"{paths.CONFIG}"
        )
    click.echo(f"see: kubectl get tambourinenode {invitation.node}")


def _ask(invitation: Invitation, timeout: float) -> bytes:
    from tambourinefs import __version__
    from tambourinefs.kube import csr
    from tambourinefs.kube.api import connect
    from tambourinefs.kube.errors import Forbidden, Unauthorized

    # In memory alone: /run, and for root.
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        kubeconfig = Path(directory, "kubeconfig")
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(_kubeconfig(invitation, identity=False))
        api = connect(kubeconfig, user_agent=f"tambourine-join/{__version__}")
        try:
            return csr.request(api, invitation.node, seconds=timeout, progress=_say)
        except (Unauthorized, Forbidden) as error:
            raise type(error)(
                f"the API server does not take the join token: {error.message}",
                hint="It is good once and for an hour. For another, where kubectl is: "
                f"kubectl tambourine join {invitation.node}",
            ) from error


def _say(text: str) -> None:
    click.echo(text, err=True)


def _kubeconfig(invitation: Invitation, *, identity: bool) -> str:
    """With the join token, or, `identity`, with the file that sync renews."""
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
