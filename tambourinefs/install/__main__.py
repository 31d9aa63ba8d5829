"""`/usr/bin/python3 -m tambourinefs.install`: the installation from a bare source tree, without any dependency."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tambourinefs.errors import TambourineError
from tambourinefs.install.environment import source_tree
from tambourinefs.install.plan import Options, carry_out
from tambourinefs.install.steps import NEXT, steps


def main() -> int:
    """The same as `tambourine install`."""
    parser = argparse.ArgumentParser("python3 -m tambourinefs.install", description=__doc__)
    parser.add_argument("--source", type=Path, default=None, metavar="TREE|WHEEL")
    parser.add_argument("--wheelhouse", type=Path, default=None, metavar="DIR")
    parser.add_argument("--respect", action="append", default=[], metavar="NAMESPACE")
    parser.add_argument("--kubeconfig", type=Path, default=None, metavar="FILE")
    parser.add_argument("--node-name", default="", metavar="NAME")
    parser.add_argument("--no-start", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    source = given.source or (source_tree() if given.wheelhouse is None else None)
    options = Options(
        source=source.resolve() if source else None,
        wheelhouse=given.wheelhouse.resolve() if given.wheelhouse else None,
        respect=tuple(given.respect),
        kubeconfig=given.kubeconfig.resolve() if given.kubeconfig else None,
        node_name=given.node_name,
        start=not given.no_start,
        dry_run=given.dry_run,
    )
    try:
        carry_out(steps(options), lambda line: print(line, flush=True), dry_run=options.dry_run)
    except TambourineError as error:
        sys.stderr.write(
            f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
        )
        return 1
    if options.start and not options.dry_run:
        print(NEXT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
