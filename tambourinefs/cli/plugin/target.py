"""Which cluster and namespace a command is for. The kubernetes client is imported when a connection is made."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import click

    from tambourinefs.kube.api import Api

USER_AGENT: Final = "kubectl-tambourine"
OPTIONS: Final = ("kubeconfig", "context", "namespace")


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for; empty means as the kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    asked_namespace: str = ""

    @property
    def namespace(self) -> str:
        """The namespace that is meant. Raises InvalidConfig."""
        return self.asked_namespace or self._chosen().namespace

    def connect(self, *, timeout: float | None = None) -> Api:
        """A client with the person's own rights; it connects at its first request. `timeout`: seconds for one.

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
                hint="install the plugin with its client: pip install 'tambourinefs[cluster]'",
            ) from error
        return Api(access) if timeout is None else Api(access, answer_seconds=timeout)

    def _chosen(self) -> Any:
        from tambourinefs.kube.kubeconfig import choose

        return choose(self.kubeconfig, self.context, os.environ)

    def over(self, outer: Target) -> Target:
        """This one, and where it says nothing what `outer` says."""
        return Target(
            self.kubeconfig or outer.kubeconfig,
            self.context or outer.context,
            self.asked_namespace or outer.asked_namespace,
        )

    def in_namespace(self, namespace: str) -> Target:
        return replace(self, asked_namespace=namespace)


def target_of(ctx: click.Context) -> Target:
    """What the options so far say, those before the command included; for completion and for commands."""
    found = Target()
    here: click.Context | None = ctx
    while here is not None:
        said = {key: str(here.params.get(key) or "") for key in OPTIONS}
        found = found.over(Target(said["kubeconfig"], said["context"], said["namespace"]))
        here = here.parent
    return found
