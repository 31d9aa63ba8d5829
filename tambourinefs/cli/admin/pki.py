"""`tambourine pki`: the certificates that Bombshell and its clients know each other by."""

from __future__ import annotations

import grp
import json
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
    help="Where the certificates and keys are.",
)


_lifetime = click.option(
    "--lifetime",
    type=Duration(),
    default=None,
    metavar="DURATION",
    help="How long the new certificates of server and client are good, such as 90d or 12h.  [default: 3 years]",
)


@click.group()
def pki() -> None:
    """Certificates of Bombshell and its clients: make, renew, show.

    Whoever can read client.key can do anything on this host that root can.
    """


@pki.command()
@_directory
@click.option("--force", is_flag=True, help="Make everything anew, the authority and its key too.")
@click.option(
    "--server-user",
    default=paths.BOMBSHELL_USER,
    show_default=True,
    help="Owner of server.key; empty: the caller.",
)
@click.option(
    "--client-group",
    default=paths.GROUP,
    show_default=True,
    help="Group that may read client.key; empty: the caller's.",
)
@_lifetime
def init(
    directory: Path, force: bool, server_user: str, client_group: str, lifetime: float | None
) -> None:
    """Make the authority and the certificates that are missing. Doing it twice changes nothing.

    With --force it makes all anew, which is the way out where ca.key was lost or has leaked. Bombshell and its clients on
    this host take the new ones up by themselves.
    """
    from tambourinefs.rpc import pki as authority

    made = authority.init(
        directory, owners=_owners(server_user, client_group), force=force, lifetime=_span(lifetime)
    )
    for name in made:
        click.echo(f"made {directory / name}.crt and .key")
    if not made:
        click.echo(f"nothing to do: {directory} is complete")


@pki.command()
@_directory
@click.option("--force", is_flag=True, help="Renew now, however much time is left.")
@_lifetime
def renew(directory: Path, force: bool, lifetime: float | None) -> None:
    """Renew certificates with less than a third of their lifetime left; keys stay, nothing needs a restart.

    tambourine-pki-renew.timer does it each day.
    """
    from tambourinefs.rpc import pki as authority

    done = authority.renew(directory, force=force, lifetime=_span(lifetime))
    for name in done:
        click.echo(f"renewed {directory / name}.crt")
    if not done:
        click.echo("nothing to do: no certificate ends soon")


@pki.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(directory: Path, as_json: bool) -> None:
    """Show the certificates and when they end."""
    from tambourinefs.rpc import pki as authority

    now = datetime.now(UTC)
    found = authority.show(directory)
    if as_json:
        click.echo(json.dumps([_fields(certificate, now) for certificate in found], indent=2))
        return
    for certificate in found:
        click.echo(
            f"{certificate.name:<7} ends {certificate.not_after:%Y-%m-%d} {_remaining(certificate, now):<28} "
            f"{certificate.subject}  {' '.join(certificate.names)}".rstrip()
        )


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _remaining(certificate: Certificate, now: datetime) -> str:
    days = (certificate.not_after - now).days
    if now > certificate.not_after:
        return "(ENDED: tambourine pki renew)"
    if now < certificate.not_before:
        return "(not valid yet: clock wrong?)"
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

    hint = "`tambourine install` (systemd-sysusers) makes it"
    try:
        uid = pwd.getpwnam(user).pw_uid if user else -1
    except KeyError:
        raise InvalidInput(f'there is no user "{user}" on this host', hint=hint) from None
    try:
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise InvalidInput(f'there is no group "{group}" on this host', hint=hint) from None
    return Owners(server_uid=uid, client_gid=gid)
