"""Which cluster and namespace a command is for. The kubernetes client is imported when a connection is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import click

    from tambourinefs.kube.api import Api

USER_AGENT: Final = "kubectl-tambourine"
OPTIONS: Final = ("kubeconfig", "context", "namespace")


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """What the options name; empty means as the kubeconfig has it."""

    kubeconfig: str = ""
    context: str = ""
    asked_namespace: str = ""

    @property
    def namespace(self) -> str:
        """The namespace of the option or of the context. Raises InvalidConfig."""
        return self.asked_namespace or self._chosen().namespace

    def connect(self, *, timeout: float | None = None) -> Api:
        """A client with the user's own rights; it connects at its first request. `timeout`: seconds for one request.

        Raises InvalidConfig; HostError where the package's extra [cluster] is not installed.
        """
        from tambourinefs.errors import HostError

        try:
            from tambourinefs.kube.access import Access
            from tambourinefs.kube.api import Api

            chosen = self._chosen()
            access = Access(chosen.files or None, USER_AGENT, context=chosen.context)
        except ModuleNotFoundError as error:
            raise HostError(
                f"the Python package {error.name} is missing",
                hint="install it: pip install 'tambourinefs[cluster]'",
            ) from error
        return Api(access) if timeout is None else Api(access, answer_seconds=timeout)

    def _chosen(self) -> Any:
        from tambourinefs.kube.kubeconfig import choose

        return choose(self.kubeconfig, self.context, os.environ)

    def over(self, outer: ClusterTarget) -> ClusterTarget:
        """This target, completed by `outer`."""
        return ClusterTarget(
            self.kubeconfig or outer.kubeconfig,
            self.context or outer.context,
            self.asked_namespace or outer.asked_namespace,
        )


def target_of(ctx: click.Context) -> ClusterTarget:
    """The options so far, those before the command included; for completion and for commands."""
    found = ClusterTarget()
    here: click.Context | None = ctx
    while here is not None:
        given = {key: str(here.params.get(key) or "") for key in OPTIONS}
        found = found.over(ClusterTarget(given["kubeconfig"], given["context"], given["namespace"]))
        here = here.parent
    return found
