"""The steps of an installation, in their order."""

from __future__ import annotations

from collections.abc import Callable

from tambourinefs.install import check, environment, host, leftovers
from tambourinefs.install.ledger import FILE, Ledger
from tambourinefs.install.plan import Changes, Options, Step, carry_out
from tambourinefs.model import paths

NEXT = f"""
Tambourine runs. Try:
  tambourine apply -f {host.SHARE}/examples/hello.yaml
  cat {paths.PROC}/local/hello/status
  tambourine get
  tambourine delete hello
Configuration: {paths.CONFIG} (every key is explained there)
To use it as another user, who becomes root in effect: adduser NAME {paths.GROUP}"""

NEXT_BOOT = f"""
Tambourine is in place; systemd does not run here. When this boots, it makes its certificates and starts.
Configuration: {paths.CONFIG} (every key is explained there)"""


def steps(options: Options) -> list[Step]:
    """What `tambourine install` does."""
    found = [Step("check this host", lambda c: check.check(options, c), looks=True)]
    if options.packaged:
        found.append(Step("what an installation without the package left", leftovers.remove))
    else:
        found += [
            Step(
                f"Python environment in {environment.PREFIX}",
                lambda c: environment.ensure(options, c),
            ),
            Step(f"command {host.LINK}", lambda c: host.command(options, c)),
        ]
    found += [
        Step(
            f"group {paths.GROUP}, users {paths.BOMBSHELL_USER} and {paths.SYNC_USER}",
            lambda c: host.users(options, c),
        ),
        Step("directories in /etc, /run and /var/lib", lambda c: host.directories(options, c)),
        Step(f"configuration {paths.CONFIG}", lambda c: host.configuration(options, c)),
        Step("cluster", lambda c: host.cluster(options, c)),
        Step(f"certificates in {paths.PKI}", lambda _: host.certificates(options)),
        Step("systemd units, enabled", lambda c: host.units(options, c)),
    ]
    return found + _running(options)


def settings(options: Options) -> list[Step]:
    """The same of a host that has Tambourine, for what `options` say of namespaces and cluster alone."""
    check.check_names(options)
    return [
        Step("check this host", lambda _: check.check_root(), looks=True),
        Step(f"configuration {paths.CONFIG}", lambda c: host.configuration(options, c)),
        Step("cluster", lambda c: host.cluster(options, c)),
        *_running(options),
    ]


def _running(options: Options) -> list[Step]:
    if not (options.start and options.starts):
        return []
    return [
        Step("services", host.start),
        Step("the whole chain", lambda _: host.healthy()),
    ]


def install(options: Options, say: Callable[[str], None], *, known: bool = False) -> None:
    """Carry the steps out, and say what to try next. `known`: the host has this installation; only its settings change.

    Raises TambourineError.
    """
    changes = Changes(Ledger(options.at(FILE)), image=options.image)
    todo = settings(options) if known else steps(options)
    carry_out(todo, say, changes, dry_run=options.dry_run)
    if options.dry_run or known:
        return
    if options.start and options.starts:
        say(NEXT)
    elif not options.starts:
        say(NEXT_BOOT)
