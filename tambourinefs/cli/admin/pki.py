"""`tambourine pki`: the certificates by which Bombshell and its clients authenticate each other."""

from __future__ import annotations

import grp
import json
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.admin.options import json_option
from tambourinefs.cli.common.text import Duration
from tambourinefs.errors import InvalidInput
from tambourinefs.model import paths

if TYPE_CHECKING:
    from tambourinefs.rpc.pki import Certificate, Owners

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(paths.PKI),
    show_default=True,
    help="The directory of certificates and keys.",
)


_lifetime = click.option(
    "--lifetime",
    type=Duration(),
    default=None,
    metavar="DURATION",
    help="Validity of new server and client certificates, such as 90d or 12h.  [default: 3 years]",
)


@click.group()
def pki() -> None:
    """Create, renew and show the certificates of Bombshell and its clients.

    Read access to client.key is equivalent to root on this host.
    """


@pki.command()
@_directory
@click.option("--force", is_flag=True, help="Recreate everything, including the CA and its key.")
@click.option(
    "--server-user",
    default=paths.BOMBSHELL_USER,
    show_default=True,
    help="Owner of server.key; empty: the current user.",
)
@click.option(
    "--client-group",
    default=paths.GROUP,
    show_default=True,
    help="Group that may read client.key; empty: the current group.",
)
@_lifetime
def init(
    directory: Path, force: bool, server_user: str, client_group: str, lifetime: float | None
) -> None:
    """Create the CA and the certificates that are missing.

    With --force everything is recreated: use it if ca.key was lost or disclosed. Bombshell and its clients on this host
    load the new certificates without a restart.

    \b
    Examples:
      tambourine pki init
      tambourine pki init --force
    """
    from tambourinefs.rpc import pki as authority

    made = authority.init(
        directory, owners=_owners(server_user, client_group), force=force, lifetime=_span(lifetime)
    )
    for name in made:
        click.echo(f"created {directory / name}.crt and .key")
    if not made:
        click.echo(f"nothing to do: {directory} is complete")


@pki.command()
@_directory
@click.option("--force", is_flag=True, help="Renew now, regardless of the remaining lifetime.")
@_lifetime
def renew(directory: Path, force: bool, lifetime: float | None) -> None:
    """Renew certificates with less than a third of their lifetime left; keys are kept, no restart is needed.

    tambourine-pki-renew.timer runs this daily.
    """
    from tambourinefs.rpc import pki as authority

    done = authority.renew(directory, force=force, lifetime=_span(lifetime))
    for name in done:
        click.echo(f"renewed {directory / name}.crt")
    if not done:
        click.echo("nothing to do: no certificate expires soon")


@pki.command()
@_directory
@json_option
def show(directory: Path, as_json: bool) -> None:
    """Show the certificates and when they expire."""
    from tambourinefs.rpc import pki as authority

    now = datetime.now(UTC)
    found = authority.show(directory)
    if as_json:
        click.echo(json.dumps([_fields(certificate, now) for certificate in found], indent=2))
        return
    for certificate in found:
        click.echo(
            f"{certificate.name:<7} expires {certificate.not_after:%Y-%m-%d} {_remaining(certificate, now):<28} "
            f"{certificate.subject}  {' '.join(certificate.names)}".rstrip()
        )


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _remaining(certificate: Certificate, now: datetime) -> str:
    days = (certificate.not_after - now).days
    if now > certificate.not_after:
        return "(EXPIRED: tambourine pki renew)"
    if now < certificate.not_before:
        return "(not valid yet: check the clock)"
    return f"(in {days} days{', due for renewal' if certificate.due(now) else ''})"


def _fields(certificate: Certificate, now: datetime) -> dict[str, object]:
    return {
        "name": certificate.name,
        "path": str(certificate.path),
        "subject": certificate.subject,
        "serial": certificate.serial,
        "notBefore": certificate.not_before.isoformat().replace("+00:00", "Z"),
        "notAfter": certificate.not_after.isoformat().replace("+00:00", "Z"),
        "due": certificate.due(now),
        "dnsNames": list(certificate.names),
        "sha256": certificate.fingerprint,
    }


def _owners(user: str, group: str) -> Owners:
    from tambourinefs.rpc.pki import Owners

    hint = "`tambourine install` creates it (systemd-sysusers)"
    try:
        uid = pwd.getpwnam(user).pw_uid if user else -1
    except KeyError:
        raise InvalidInput(f'user "{user}" does not exist on this host', hint=hint) from None
    try:
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise InvalidInput(f'group "{group}" does not exist on this host', hint=hint) from None
    return Owners(server_uid=uid, client_gid=gid)
