"""`kubectl tambourine join`: creates a join token, valid for one node and for an hour."""

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


@click.command(short_help="Print the command that joins a host to the cluster.")
@click.argument("node")
@click.option(
    "--allow-namespace",
    "allow_namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help='A namespace from which the host accepts Tambourines ("*": all); may be repeated.',
)
@click.option(
    "--server",
    metavar="URL",
    help="The address at which the host reaches the API server.  [default: that of the kubeconfig]",
)
@click.option(
    "--system-namespace",
    default="tambourine-system",
    show_default=True,
    metavar="NAMESPACE",
    help="The namespace of Tambourine's controller.",
)
@target_options
def join(
    *,
    node: str,
    allow_namespaces: tuple[str, ...],
    server: str | None,
    system_namespace: str,
    target: ClusterTarget,
) -> None:
    """Print the command that joins a host to this cluster as NODE.

    Run the command on the host as root. Its token is valid for an hour, for one use, and only for the identity of NODE. The
    host creates its private key itself; no private key is in the token or leaves the host.

    You need permission to create ClusterRoles and ClusterRoleBindings: NODE gets one to read its own TambourineNode.

    \b
    Examples:
      kubectl tambourine join worker-7 --allow-namespace storage
      kubectl tambourine join worker-7 --allow-namespace storage | ssh worker-7 sudo sh

    \b
    Exit codes: 0 success, 1 Tambourine is not installed in the cluster, 2 invalid node or namespace,
    3 forbidden, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.common.invitation import Invitation
    from tambourinefs.errors import InvalidInput
    from tambourinefs.model import names

    if problem := names.object_name_problem(node):
        raise InvalidInput(f'node "{names.printable(node[:64])}": {problem}')
    for namespace in allow_namespaces:
        if namespace != "*" and (problem := names.namespace_problem(namespace)):
            raise InvalidInput(f'--allow-namespace "{names.printable(namespace[:64])}": {problem}')
    api = target.connect()
    _check_cluster(api)
    _warn_if_missing(api, node)
    _grant(api, node)
    token = _token(api, node, system_namespace)
    url, authority = api.cluster()
    invitation = Invitation(server=server or url, ca=authority, token=token, node=node)
    options = [part for namespace in allow_namespaces for part in ("--allow-namespace", namespace)]
    click.echo("# Run on the host as root, within an hour:", err=True)
    click.echo(shlex.join(["tambourine", "join", *options, invitation.encode()]))


def _check_cluster(api: Api) -> None:
    """Raises NotFound where no controller would approve the host's request."""
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import CLUSTER_ROLES

    try:
        api.get(CLUSTER_ROLES, JOIN_ROLE)
    except NotFound as error:
        raise NotFound(
            f"Tambourine is not installed in this cluster: ClusterRole {JOIN_ROLE} not found",
            hint="kubectl apply -k k8s/",
        ) from error


def _warn_if_missing(api: Api, node: str) -> None:
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import CORE_NODES

    try:
        api.get(CORE_NODES, node)
    except NotFound:
        click.echo(
            f"warning: Node {node} does not exist yet; it gets no Tambourines before its kubelet registers it",
            err=True,
        )


def _grant(api: Api, node: str) -> None:
    """The rights on the node's own object; the ClusterRole tambourine-node has those that all nodes share."""
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
    """A token of the node's join account, which may create and read its certificate request."""
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import SERVICE_ACCOUNTS
    from tambourinefs.model.cluster import join_account

    account = join_account(node)
    # A new account: an earlier one may have had its certificate, and this revokes earlier tokens.
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
            f'namespace "{namespace}" not found',
            hint="give the namespace of the controller: --system-namespace NAMESPACE",
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
