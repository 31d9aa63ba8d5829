"""`kubectl tambourine join`: let a host become a node, by a token that is good for that node alone and for an hour."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from tambourinefs.cli.plugin.options import target_options
from tambourinefs.cli.plugin.target import ClusterTarget

if TYPE_CHECKING:
    from tambourinefs.kube.api import Api

MANAGER: Final = "kubectl-tambourine"
TOKEN_SECONDS: Final = 3600
JOIN_ROLE: Final = "tambourine-join"


@click.command(short_help="Let a host become a node: prints the one command to run on it.")
@click.argument("node")
@click.option(
    "--respect",
    multiple=True,
    metavar="NAMESPACE",
    help='A namespace that the host shall obey ("*": all; several: give it again).',
)
@click.option(
    "--server",
    metavar="URL",
    help="Where the host reaches the API server.  [default: as this kubeconfig says]",
)
@click.option(
    "--system-namespace",
    default="tambourine-system",
    show_default=True,
    metavar="NAMESPACE",
    help="Where Tambourine's controller runs.",
)
@target_options
def join(
    *,
    node: str,
    respect: tuple[str, ...],
    server: str | None,
    system_namespace: str,
    target: ClusterTarget,
) -> None:
    """Let the host NODE become a node of this cluster.

    Prints one command to run on the host as root, with a token in it that is good for an hour, for the identity of NODE
    alone, and once. The host makes its key itself, no private key is in the token or leaves the host.

    You need the right to make cluster roles and bindings: NODE gets one that lets it read its own TambourineNode.

    \b
    Examples:
      kubectl tambourine join worker-7 --respect storage
      kubectl tambourine join worker-7 --respect storage | ssh worker-7 sudo sh

    \b
    Exit codes: 0 printed, 1 Tambourine is not in this cluster, 2 not a name of a node,
    3 your rights do not reach, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.common.invitation import Invitation
    from tambourinefs.errors import InvalidInput
    from tambourinefs.model import names

    if problem := names.object_name_problem(node):
        raise InvalidInput(f'"{names.printable(node[:64])}" is not the name of a node: {problem}')
    for namespace in respect:
        if namespace != "*" and (problem := names.namespace_problem(namespace)):
            raise InvalidInput(f'"{names.printable(namespace[:64])}": {problem}')
    api = target.connect()
    _check_cluster(api)
    _warn_if_missing(api, node)
    _let_it_be_a_node(api, node)
    token = _token(api, node, system_namespace)
    url, authority = api.cluster()
    invitation = Invitation(server=server or url, ca=authority, token=token, node=node)
    options = [word for namespace in respect for word in ("--respect", namespace)]
    click.echo("# on the host, as root, within an hour:", err=True)
    click.echo(shlex.join(["tambourine", "join", *options, invitation.encode()]))


def _check_cluster(api: Api) -> None:
    """Raises NotFound where nobody would approve what the host asks for."""
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import CLUSTER_ROLES

    try:
        api.get(CLUSTER_ROLES, JOIN_ROLE)
    except NotFound as error:
        raise NotFound(
            f"Tambourine is not installed in this cluster: there is no ClusterRole {JOIN_ROLE}",
            hint="kubectl apply -k k8s/",
        ) from error


def _warn_if_missing(api: Api, node: str) -> None:
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import CORE_NODES

    try:
        api.get(CORE_NODES, node)
    except NotFound:
        click.echo(
            f"there is no Node {node} yet: until the kubelet has made it, no Tambourine is for it",
            err=True,
        )


def _let_it_be_a_node(api: Api, node: str) -> None:
    """What names the node; all that nodes have in common is the ClusterRole tambourine-node."""
    from tambourinefs.kube.resources import CLUSTER_ROLES
    from tambourinefs.model.cluster import GROUP, NODE_USER_PREFIX

    name = f"{NODE_USER_PREFIX}{node}"
    rules: list[dict[str, Any]] = [
        {"resources": ["tambourinenodes"], "verbs": ["get", "list", "watch"]},
        {"resources": ["tambourinenodes/status"], "verbs": ["patch"]},
    ]
    named = [{"apiGroups": [GROUP], "resourceNames": [node], **rule} for rule in rules]
    api.apply(CLUSTER_ROLES, {"metadata": {"name": name}, "rules": named}, manager=MANAGER)
    _bind(api, name, name, {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})


def _token(api: Api, node: str, namespace: str) -> str:
    """A token of the node's join account, which may ask for a certificate and see what became of the request."""
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import SERVICE_ACCOUNTS
    from tambourinefs.model.cluster import join_account

    account = join_account(node)
    # A new one: what was there may have had its certificate, and an older snippet shall be good for nothing any more.
    with suppress(NotFound):
        api.delete(SERVICE_ACCOUNTS, account, namespace)
    item = {
        "apiVersion": SERVICE_ACCOUNTS.api_version,
        "kind": SERVICE_ACCOUNTS.kind,
        "metadata": {"name": account, "namespace": namespace},
    }
    try:
        api.create(SERVICE_ACCOUNTS, item)
    except NotFound as error:
        raise NotFound(
            f"there is no namespace {namespace}",
            hint="Where does the controller run? --system-namespace NAMESPACE",
        ) from error
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    _bind(api, account, JOIN_ROLE, subject)
    made = api.create(
        SERVICE_ACCOUNTS,
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": namespace},
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        },
        subresource="token",
    )
    return str(made["status"]["token"])


def _bind(api: Api, name: str, role: str, subject: dict[str, str]) -> None:
    from tambourinefs.kube.resources import CLUSTER_ROLE_BINDINGS

    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    api.apply(
        CLUSTER_ROLE_BINDINGS,
        {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]},
        manager=MANAGER,
    )
