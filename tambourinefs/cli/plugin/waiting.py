"""Waiting until Tambourines are as asked on all their nodes: look, judge, sleep until a watch rings, look again."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.common.progress import progress
from tambourinefs.cli.common.text import Duration, indent
from tambourinefs.cli.common.verdict import Goal, Outcome, Verdict
from tambourinefs.cli.plugin.objects import instance_of, of_service, service_of
from tambourinefs.cli.plugin.verdict import UNSEEN, Judged, judge
from tambourinefs.errors import HostError, Unreachable
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import INSTANCES, TAMBOURINES
from tambourinefs.model.cluster import SILENT
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from tambourinefs.cli.plugin.objects import Service
    from tambourinefs.kube.api import Api, Object
    from tambourinefs.model import cluster

DEFAULT_TIMEOUT: Final = "10m"  # a rollout goes node by node, and each may take systemd's 90 s
AWAY_SECONDS: Final = 30.0  # so long may the API server not answer
_LOOK_SECONDS: Final = 1.0
_JOURNAL_SECONDS: Final = 2.0  # so long may a node's journal come after its failure
_NODES_TOLD: Final = 10
_JOURNAL_LINES: Final = 10
_JOURNALS: Final = 2  # of so many nodes; the rest fails likely for the same reason
_UNREACHABLE: Final = 4


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--no-wait and --timeout."""
    command = click.option(
        "--timeout",
        type=Duration(),
        default=DEFAULT_TIMEOUT,
        show_default=True,
        help="How long to wait, such as 90s or 2m; then exit 1.",
    )(command)
    return click.option(
        "--no-wait", is_flag=True, help="Return as soon as the API server has the order."
    )(command)


@dataclass(frozen=True, slots=True)
class Result:
    """How the wait for one goal ended."""

    goal: Goal
    judged: Judged
    instances: list[cluster.Instance]


def wait_and_tell(api: Api, goals: Sequence[Goal], *, timeout: float) -> int:
    """Wait for all of them (of one namespace), tell how each ended, and return the exit code: the highest of all.

    Raises Unreachable once the API server has not answered for AWAY_SECONDS.
    """
    with progress(goals) as tell:
        results = wait(api, goals, timeout=timeout, tell=tell)
    for result in results:
        _tell(result, timeout)
    return max((exit_code(result.judged.verdict) for result in results), default=0)


def exit_code(verdict: Verdict) -> int:
    """As of the host's command line; a controller that never looked was not reached."""
    if verdict.settled:
        return verdict.outcome.value
    return _UNREACHABLE if verdict == UNSEEN else Outcome.NOT_AS_ASKED.value


def wait(
    api: Api, goals: Sequence[Goal], *, timeout: float, tell: Callable[[Goal, Verdict], None]
) -> list[Result]:
    """Until every goal is settled, at most `timeout` seconds; `tell` hears of every new verdict."""
    deadline = time.monotonic() + timeout
    told: dict[Goal, Verdict] = {}
    with _watched(api, goals) as (bell, look):
        answered = time.monotonic()
        while True:
            bell.clear()
            results, error = look()
            for result in results:
                if told.get(result.goal) != result.judged.verdict:
                    told[result.goal] = result.judged.verdict
                    tell(result.goal, result.judged.verdict)
            now = time.monotonic()
            answered = answered if error else now
            if now - answered > AWAY_SECONDS:
                raise Unreachable(
                    f"the API server has not answered for {now - answered:.0f} s: {error}",
                    hint="the order was given; `kubectl get tambourine` shows what became of it",
                )
            if all(result.judged.verdict.settled for result in results):
                deadline = min(deadline, now + _JOURNAL_SECONDS)
                if not any(map(_lacks_journal, results)):
                    return results
            if now >= deadline:
                return results
            bell.wait(min(_LOOK_SECONDS, deadline - now))


def _lacks_journal(result: Result) -> bool:
    """Whether a node says that it failed and not yet what was logged: that is reported a moment later."""
    return any(
        item.status.active_state == "failed" and not item.status.journal
        for item in result.instances
        if result.judged.nodes[item.spec.node_name].outcome is Outcome.NOT_AS_ASKED
    )


_Look = tuple[list[Result], str]


@contextmanager
def _watched(
    api: Api, goals: Sequence[Goal]
) -> Iterator[tuple[threading.Event, Callable[[], _Look]]]:
    """A bell that rings at each change, and a look at what the watches know: (a result for each goal, why they fail)."""
    bell, stop = threading.Event(), threading.Event()
    namespace, names = goals[0].namespace, {goal.name for goal in goals}
    only = goals[0].name if len(names) == 1 else ""
    services: Reflector[Service] = Reflector(
        api, TAMBOURINES, project=_service, bell=bell.set, namespace=namespace, name=only
    )

    def ours(item: Object) -> cluster.Instance | None:
        found = instance_of(item)
        return found if found is not None and found.spec.tambourine in names else None

    instances: Reflector[cluster.Instance] = Reflector(
        api, INSTANCES, project=ours, bell=bell.set, namespace=namespace
    )
    watches: tuple[Reflector[Any], ...] = (services, instances)
    threads = [threading.Thread(target=watch.run, args=(stop,), daemon=True) for watch in watches]

    def look() -> _Look:
        error = next((watch.error for watch in watches if watch.error), "")
        if not all(watch.synced.is_set() for watch in watches):
            return [Result(goal, Judged(UNSEEN, {}), []) for goal in goals], error
        known, reported = services.items, list(instances.items.values())
        return [_result(goal, known.get((namespace, goal.name)), reported) for goal in goals], error

    for thread in threads:
        thread.start()
    try:
        yield bell, look
    finally:
        stop.set()
        for watch, thread in zip(watches, threads, strict=True):
            watch.close()
            thread.join(2.0)


def _result(goal: Goal, service: Service | None, reported: list[cluster.Instance]) -> Result:
    mine = of_service(reported, service) if service is not None else []
    return Result(goal, judge(goal, service, mine), mine)


def _service(item: Object) -> Service | None:
    try:
        return service_of(item)
    except HostError:
        return None


def _tell(result: Result, timeout: float) -> None:
    verdict = result.judged.verdict
    if verdict.outcome is Outcome.AS_ASKED:
        click.echo(f"{result.goal} {_success(result)}")
        return
    for line in failure(result, timeout):
        click.echo(line, err=True)


def _success(result: Result) -> str:
    states = sorted({item.status.active_state for item in result.instances} - {""})
    head = f"ready on {result.judged.done} of {len(result.judged.nodes)} nodes"
    return printable(f"{head}: {', '.join(states)}" if states else head)


def failure(result: Result, timeout: float) -> list[str]:
    """What went wrong: the whole, each node that is not as asked, the journal of the first of them, and what next."""
    verdict, name = result.judged.verdict, result.goal.name
    refused = verdict.outcome in (Outcome.REFUSED, Outcome.INVALID)
    what = "is refused" if refused else "is not as asked"
    if not verdict.settled:
        what = f"is not as asked after {timeout:g} s"
    head, *rest = f"error: {result.goal} {what}: {verdict}".splitlines()
    told = [printable(line) for line in (head, *indent(rest))]
    bad = {
        node: found
        for node, found in sorted(result.judged.nodes.items())
        if found.outcome is not Outcome.AS_ASKED and found.settled >= verdict.settled
    }
    for node, found in list(bad.items())[:_NODES_TOLD]:
        told.append(printable(f"  {node}: {' '.join(str(found).split())}"))
    if len(bad) > _NODES_TOLD:
        told.append(f"  … and {len(bad) - _NODES_TOLD} more nodes")
    journals = [i for i in result.instances if i.status.journal and i.spec.node_name in bad]
    for instance in journals[:_JOURNALS]:
        told.append(printable(f"  journal of {instance.spec.node_name}:"))
        lines = instance.status.journal[-_JOURNAL_LINES:]
        told += indent((printable(line, keep="\t") for line in lines), "    ")
    return [*told, f"  next: {next_step(verdict, name)}"]


def next_step(verdict: Verdict, name: str) -> str:
    """The command to type next."""
    if verdict == UNSEEN:
        return "kubectl get deployment -A -l app.kubernetes.io/name=tambourine-controller   whether it runs"
    if verdict.reason == "NoNodes" or verdict.reason in SILENT:
        return "kubectl tambourine nodes   which nodes have an agent, and whom they obey"
    if verdict.reason == "RolloutPaused":
        return f"set spec.rollout.paused to false: kubectl edit tambourine {name}"
    if verdict.outcome is Outcome.REFUSED:
        return "on that host: tambourine config   shows its rules and where each comes from"
    return f"kubectl tambourine status {name}   all that its nodes say; to go back: kubectl tambourine undo {name}"
