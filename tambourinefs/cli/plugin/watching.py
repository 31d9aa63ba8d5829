"""Tambourines and their instances as the API server has them, by watches: the source of the wait loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

from tambourinefs.cli.common.goal import Goal, GoalResult, GoalState
from tambourinefs.cli.common.outcome import failing, wait_and_report
from tambourinefs.cli.common.wait import Patience, readings
from tambourinefs.cli.plugin.objects import TambourineObject, instance_of, of_service, service_of
from tambourinefs.cli.plugin.rollout import UNOBSERVED, evaluate_rollout
from tambourinefs.errors import HostError, Unreachable
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import INSTANCES, TAMBOURINES
from tambourinefs.model.cluster import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tambourinefs.kube.api import Api, Object
    from tambourinefs.model import cluster

_JOURNAL_SECONDS: Final = 2.0  # a node reports its journal so long after its failure at most
_JOURNAL_LINES: Final = 10
_JOURNALS: Final = 2  # nodes; the others likely failed for the same reason
_END_SECONDS: Final = 2.0
_HINT: Final = "`kubectl get tambourine` shows its state"


def next_step(result: GoalResult) -> str:
    """The command to type after a failure."""
    status, name = result.status, result.goal.name
    if status.state is GoalState.UNOBSERVED:
        return (
            "kubectl get deployment -A -l app.kubernetes.io/name=tambourine-controller   "
            "shows whether the controller runs"
        )
    if status.reason == "NoNodes" or status.reason in SILENT:
        return "kubectl tambourine nodes   shows nodes with an agent and their allowed namespaces"
    if status.reason == "RolloutPaused":
        return f"set spec.rollout.paused to false: kubectl edit tambourine {name}"
    if status.state is GoalState.REFUSED:
        return "on that host: tambourine config   shows its rules and where each comes from"
    return (
        f"kubectl tambourine status {name}   shows all nodes; "
        f"to roll back: kubectl tambourine undo {name}"
    )


class ClusterSource:
    """Goals' results in one namespace, by a watch on Tambourines and one on their instances."""

    patience = Patience(30.0, _HINT, "; the change is stored in the cluster")

    def __init__(self, api: Api, goals: Sequence[Goal]) -> None:
        self.changed = threading.Event()
        self._stop = threading.Event()
        names = {goal.name for goal in goals}

        def watched(item: Object) -> cluster.Instance | None:
            found = instance_of(item)
            return found if found is not None and found.spec.tambourine in names else None

        namespace = goals[0].namespace
        self._services: Reflector[TambourineObject] = Reflector(
            api,
            TAMBOURINES,
            project=_readable,
            changed=self.changed,
            namespace=namespace,
            name=goals[0].name if len(names) == 1 else "",
        )
        self._instances: Reflector[cluster.Instance] = Reflector(
            api, INSTANCES, project=watched, changed=self.changed, namespace=namespace
        )
        self._watches: tuple[Reflector[Any], ...] = (self._services, self._instances)
        self._threads = [
            threading.Thread(target=watch.run, args=(self._stop,), daemon=True)
            for watch in self._watches
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for watch, thread in zip(self._watches, self._threads, strict=True):
            watch.close()
            thread.join(_END_SECONDS)

    def read(self, goals: Sequence[Goal]) -> list[GoalResult]:
        """From the watches' memory. Raises Unreachable while one of them fails."""
        for watch in self._watches:
            if watch.error:
                raise Unreachable(f"the API server does not answer: {watch.error}")
        if not all(watch.synced.is_set() for watch in self._watches):
            return [GoalResult(goal, UNOBSERVED, {}) for goal in goals]
        services = self._services.items
        return [self._result(goal, services.get((goal.namespace, goal.name))) for goal in goals]

    def _result(self, goal: Goal, service: TambourineObject | None) -> GoalResult:
        found = of_service(self._instances.items.values(), service) if service else []
        return evaluate_rollout(goal, service, found)

    def journals(self, result: GoalResult) -> Mapping[str, Sequence[str]]:
        """Of the first failing nodes that reported one; a failure is reported a moment before its journal."""
        nodes = failing(result)
        failed = {name for name in nodes if result.nodes[name].status.state is GoalState.FAILED}
        for found in readings(
            self.changed,
            lambda: self._journals(result.goal),
            self.patience,
            timeout=_JOURNAL_SECONDS,
        ):
            missing = [name for name in failed if not found.get(name, ("",))]
            if not missing:
                break
        reported = [name for name in nodes if found.get(name)][:_JOURNALS]
        return {name: found[name][-_JOURNAL_LINES:] for name in reported}

    def _journals(self, goal: Goal) -> dict[str, tuple[str, ...]]:
        """The journal of each node whose unit failed; empty where it is not reported yet."""
        service = self._services.items.get((goal.namespace, goal.name))
        found = of_service(self._instances.items.values(), service) if service else []
        return {
            item.spec.node_name: item.status.journal
            for item in found
            if item.status.active_state == "failed" or item.status.journal
        }

    next_step = staticmethod(next_step)


def _readable(item: Object) -> TambourineObject | None:
    try:
        return service_of(item)
    except HostError:
        return None


def wait_for(api: Api, goals: Sequence[Goal], *, timeout: float) -> int:
    """Wait for goals of one namespace, print how each ended, and return the exit code. Raises Unreachable."""
    with ClusterSource(api, goals) as source:
        return wait_and_report(source, goals, timeout=timeout)
