"""The steps of an installation, in their order."""

from __future__ import annotations

from tambourinefs.install import environment, host
from tambourinefs.install.plan import Options, Step
from tambourinefs.model import paths

NEXT = f"""
Tambourine runs. Try:
  tambourine apply -f {host.SHARE}/examples/hello.yaml
  cat {paths.PROC}/local/hello/status
  tambourine get
  tambourine delete hello
Configuration: {paths.CONFIG} (every key is explained there)
To let somebody use it without being root (it makes them root in effect): adduser NAME {paths.GROUP}"""


def steps(options: Options) -> list[Step]:
    """What `tambourine install` does."""
    found = [
        Step("check this host", lambda _: host.check(options)),
        Step(
            f"Python environment in {environment.PREFIX}", lambda c: environment.ensure(options, c)
        ),
        Step(f"command {host.LINK}", host.command),
        Step(
            f"group {paths.GROUP}, users {paths.BOMBSHELL_USER} and {paths.SYNC_USER}", host.users
        ),
        Step("directories in /etc, /run and /var/lib", host.directories),
        Step(f"configuration {paths.CONFIG}", lambda c: host.configuration(options, c)),
        Step("cluster", lambda c: host.cluster(options, c)),
        Step(f"certificates in {paths.PKI}", lambda _: host.certificates()),
        Step("systemd units, enabled", host.units),
    ]
    return found + _running(options)


def settings(options: Options) -> list[Step]:
    """The same of a host that has Tambourine, for what `options` say of namespaces and cluster alone."""
    host.check_names(options)
    return [
        Step("check this host", lambda _: host.check_root()),
        Step(f"configuration {paths.CONFIG}", lambda c: host.configuration(options, c)),
        Step("cluster", lambda c: host.cluster(options, c)),
        *_running(options),
    ]


def _running(options: Options) -> list[Step]:
    if not options.start:
        return []
    return [
        Step("services", host.start),
        Step("the whole chain", lambda _: host.healthy()),
    ]
