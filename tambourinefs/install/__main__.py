"""`/usr/bin/python3 -m tambourinefs.install`: the installation from a bare source tree, without any dependency."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tambourinefs.errors import TambourineError
from tambourinefs.install.environment import source_tree
from tambourinefs.install.plan import Options
from tambourinefs.install.steps import install
from tambourinefs.install.uninstall import Removal, uninstall


def main() -> int:
    """The same as `tambourine install`."""
    parser = argparse.ArgumentParser("python3 -m tambourinefs.install", description=__doc__)
    parser.add_argument("--uninstall", action="store_true", help="take it off this host")
    services = parser.add_mutually_exclusive_group()
    services.add_argument("--keep-services", action="store_true", help="they run on (the default)")
    services.add_argument("--remove-services", action="store_true")
    parser.add_argument("--source", type=Path, default=None, metavar="TREE|WHEEL")
    parser.add_argument("--wheelhouse", type=Path, default=None, metavar="DIR")
    parser.add_argument("--allow-namespace", action="append", default=[], metavar="NAMESPACE")
    parser.add_argument("--kubeconfig", type=Path, default=None, metavar="FILE")
    parser.add_argument("--node-name", default="", metavar="NAME")
    parser.add_argument("--no-start", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    given = parser.parse_args()
    source = given.source or (source_tree() if given.wheelhouse is None else None)
    options = Options(
        source=source.resolve() if source else None,
        wheelhouse=given.wheelhouse.resolve() if given.wheelhouse else None,
        allow_namespaces=tuple(given.allow_namespace),
        kubeconfig=given.kubeconfig.resolve() if given.kubeconfig else None,
        node_name=given.node_name,
        start=not given.no_start,
        dry_run=given.dry_run,
        root=given.root.resolve(),
    )
    try:
        if given.uninstall:
            removal = Removal(remove_services=given.remove_services, dry_run=given.dry_run)
            uninstall(removal, lambda line: print(line, flush=True))
            return 0
        install(options, lambda line: print(line, flush=True))
    except TambourineError as error:
        sys.stderr.write(
            f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
