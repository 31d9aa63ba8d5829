"""`kubectl tambourine logs`: a node's journal by its kubelet; otherwise the excerpt in the instance's status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import click

from tambourinefs.cli.plugin.options import name_argument, node_option, target_options
from tambourinefs.cli.plugin.target import ClusterTarget
from tambourinefs.errors import TambourineError, Unreachable
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import urllib3

    from tambourinefs.kube.api import Api
    from tambourinefs.model import cluster

_EXCERPT_SECONDS: Final = 5.0  # a node reports its excerpt so long after the failure at most
_LOOK_SECONDS: Final = 0.25
_SECONDS: Final = 35.0  # the kubelet itself gives journalctl 30
_MOST_LINES: Final = 100_000  # the kubelet's own bound (maxTailLines)
_MOST_BYTES: Final = 64 << 20
_LONGEST: Final = 1 << 20  # bytes of one line
# What the kubelet answers instead of lines (pkg/kubelet/kubelet_server_journal.go), after an empty line.
_NO_JOURNAL: Final = (
    "log not found for",
    "options present and query resolved",
    "error: journal",
    "failed to get logging",
)


class NotOffered(TambourineError):  # noqa: N818  (named for what happened, as the others are)
    """The node's kubelet does not serve this journal; the message has the reason."""


@click.command(short_help="Show the last journal lines of a service on its nodes.")
@name_argument()
@node_option
@click.option(
    "-l",
    "--lines",
    "--tail",
    type=click.IntRange(1, _MOST_LINES),
    default=100,
    show_default=True,
    help="Maximum number of lines of each node.",
)
@target_options
@click.pass_context
def logs(ctx: click.Context, *, name: str, node: str, lines: int, target: ClusterTarget) -> None:
    """Show the last lines that a service logged on its nodes; with several nodes each line begins with the node's name.

    They are read through the node's kubelet, if it has enableSystemLogQuery set and you may get nodes/proxy. Otherwise
    only an excerpt is available: what the node reported of a run that failed. A line on standard error says so.

    \b
    Examples:
      kubectl tambourine logs alice-zfs
      kubectl tambourine logs alice-zfs --node h1 --lines 1000
      kubectl tambourine logs alice-zfs 2>/dev/null | grep error

    \b
    Exit codes: 0 success, 1 no lines or not found, 3 forbidden,
    4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin.objects import on_node, read_instances, read_service

    api = target.connect()
    service = read_service(api, target.namespace, name)
    instances = on_node(service, read_instances(api, service), node)
    shown = 0
    for instance in instances:
        prefix = f"{printable(instance.spec.node_name)}: " if len(instances) > 1 else ""
        for line in _lines(api, instance, lines):
            click.echo(prefix + printable(line, keep="\t"))
            shown += 1
    if not instances:
        click.echo(f"{service.label} is not on any node", err=True)
    ctx.exit(0 if shown else 1)


def _lines(api: Api, instance: cluster.Instance, lines: int) -> Iterator[str]:
    node = printable(instance.spec.node_name)
    try:
        yield from _of_kubelet(api, instance, lines)
    except NotOffered as error:
        excerpt = _excerpt(api, instance)[-lines:]
        why = printable(str(error))
        if excerpt:
            what = f"an excerpt: the last {len(excerpt)} lines of the failed run, as reported by the node"
        else:
            what = "no lines: a node reports them only of a failed run"
        click.echo(
            f"-- {node}: {what} ({why}); full journal on the node: journalctl -u {printable(instance.spec.unit)}",
            err=True,
        )
        yield from excerpt


def _excerpt(api: Api, instance: cluster.Instance) -> tuple[str, ...]:
    """What the node reported of the failed run; the report follows the failure a moment later."""
    from tambourinefs.cli.plugin.objects import instance_of
    from tambourinefs.kube.resources import INSTANCES

    deadline = time.monotonic() + _EXCERPT_SECONDS
    here, known = instance.metadata, instance.status
    while known.active_state == "failed" and not known.journal and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        try:
            found = instance_of(api.get(INSTANCES, here.name, here.namespace))
        except TambourineError:
            break
        known = found.status if found else known
    return known.journal


def query(node: str, unit: str, lines: int) -> str:
    """The path of the node log query (KEP-2258). Raises NotOffered for a unit that it cannot name.

    The kubelet looks for NAME.service in the journal's list of units, so it supports only services, by their name
    without the suffix; a backslash makes it look for a file.
    """
    service = unit.removesuffix(".service")
    if service == unit or "\\" in service:
        raise NotOffered("the kubelet's log query supports only service units")
    parameters = urlencode({"query": service, "tailLines": str(lines)})
    return f"/api/v1/nodes/{quote(node, safe='')}/proxy/logs/?{parameters}"


def _of_kubelet(api: Api, instance: cluster.Instance, lines: int) -> Iterator[str]:
    path = query(instance.spec.node_name, instance.spec.unit, lines)
    try:
        answer = api.stream(path, _SECONDS)
    except TambourineError as error:
        raise NotOffered(f"its kubelet refuses the log query: {_short(error)}") from error
    try:
        if not answer.headers.get("Content-Type", "").startswith("text/plain"):
            # Without the feature the kubelet ignores the query and lists /var/log.
            raise NotOffered("enableSystemLogQuery is not set on its kubelet")
        yield from checked(_split(answer))
    finally:
        answer.close()


def checked(found: Iterator[str]) -> Iterator[str]:
    """The lines, unless the kubelet has none. Raises NotOffered, before the first line."""
    first = next(found, None)
    if first is None:
        raise NotOffered("its kubelet sent no lines")
    second = next(found, None) if not first else None
    if second is not None and second.startswith(_NO_JOURNAL):
        raise NotOffered(f"its kubelet answered: {second}")
    yield from (line for line in (first, second) if line is not None)
    yield from found


def _split(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """The lines as they arrive; truncated at a bound."""
    rest, total = b"", 0
    for chunk in _chunks(answer):
        total += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        if total > _MOST_BYTES or len(rest) > _LONGEST:
            yield "-- truncated: too many lines --"
            return
    if rest:
        yield rest.decode(errors="replace")


def _chunks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    import urllib3

    try:
        yield from answer.stream(1 << 16)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"the kubelet's answer was interrupted: {error}") from error


def _short(error: TambourineError) -> str:
    """The first line, without the request's path."""
    head = (str(error).splitlines() or [""])[0]
    return head.rpartition("tailLines=")[2].partition(": ")[2][:300] or head[:300]
