"""`tambourine get`: services, one line each, or as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from tambourinefs.cli.host.connection import (
    SILO,
    Connection,
    host_options,
    manifest_path,
    read_report,
    read_reports,
)
from tambourinefs.cli.host.local import missing
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.table import follow, print_table
from tambourinefs.errors import NotFound
from tambourinefs.model.schema import API_VERSION, KIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client


@click.command(short_help="List services, or print them as YAML or JSON.")
@name_argument(many=True, required=False)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="List services of all namespaces.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["wide", "json", "yaml", "name"]),
    help="Output format: more columns, whole objects (spec and status), or names.",
)
@click.option("-w", "--watch", is_flag=True, help="After listing, print a line for each change.")
@host_options
def get(
    *,
    names: Sequence[str],
    namespace: str,
    all_namespaces: bool,
    output: str | None,
    watch: bool,
    host: Connection,
) -> None:
    """List services: name, unit, readiness, and the state in systemd.

    READY is True when the service matches its manifest; otherwise it is followed by the reason, such as False/Failed.
    Columns are separated by spaces and never truncated. -o json and -o yaml print the manifest with its status; the
    output of -o yaml can be applied again.

    \b
    Examples:
      tambourine get
      tambourine get -A -o wide
      tambourine get hello -o yaml > hello.yaml
      tambourine get -o json | jq -r '.items[] | select(.status.activeState != "active") | .metadata.name'
      tambourine get -w
      tambourine get -o name | xargs -n1 tambourine restart

    \b
    Exit codes: 0 listed, 1 a NAME does not exist, 4 Bombshell or the agent cannot be reached.
    """
    if watch and output not in (None, "wide"):
        raise click.UsageError(f"--watch cannot be combined with -o {output}")
    namespaces = None if all_namespaces else namespace
    with host.connect() as client:
        if watch:
            follow(client, namespaces, names, wide=output == "wide")
            return
        reports = select(client, namespaces, names)
        if output in ("json", "yaml"):
            click.echo(_objects(client, reports, output, one=len(names) == 1), nl=False)
        elif output == "name":
            for report in reports:
                click.echo(f"tambourine/{report.name}")
        else:
            print_table(reports, wide=output == "wide", namespaces=all_namespaces)


def select(client: Client, namespace: str | None, names: Sequence[str]) -> list[StatusReport]:
    """The reports of the names and the namespace; `namespace` None means all.

    Raises NotFound for a name that does not exist, Unreachable.
    """
    if names and namespace is not None:
        singly = (read_report(client, namespace, name) for name in names)
        reports = [report for report in singly if report is not None]
    else:
        reports = [r for r in read_reports(client) if namespace in (None, r.namespace)]
    if names:
        reports = [report for report in reports if report.name in names]
    lost = set(names) - {report.name for report in reports}
    if lost:
        raise missing(min(lost), namespace)
    return reports


def object_of(client: Client, report: StatusReport) -> dict[str, Any]:
    """The whole Tambourine: the manifest in the silo, and its status."""
    plain = msgspec.to_builtins(report)
    known = {"uid": plain.pop("uid", ""), "generation": plain.pop("generation", 0)}
    metadata = {key: plain.pop(key) for key in ("name", "namespace")} | known
    whole = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
    try:
        _, data = client.read(SILO, manifest_path(report.name, report.namespace))
        whole |= msgspec.json.decode(data, type=dict[str, Any])
    except (NotFound, msgspec.MsgspecError):
        pass  # being removed, or refused because it cannot be parsed: the status has the reason
    return whole | {"status": plain}


def _objects(client: Client, reports: Sequence[StatusReport], output: str, *, one: bool) -> str:
    from tambourinefs.cli.host.yamltext import to_yaml

    found = [object_of(client, report) for report in reports]
    if output == "yaml":
        return "---\n".join(to_yaml(whole) for whole in found)
    whole = found[0] if one else {"apiVersion": "v1", "kind": "List", "items": found}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"
