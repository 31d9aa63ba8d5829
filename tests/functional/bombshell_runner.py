"""Runs a Bombshell over the configuration file in argv[1]; `plain` as argv[2] also over directories that are no mounts."""

from __future__ import annotations

import sys

from tambourinefs import configfile, daemon
from tambourinefs.processes import bombshell

if __name__ == "__main__":
    daemon.configure_logging("debug")
    config = configfile.load(sys.argv[1]).config
    bombshell.main(config, plain="plain" in sys.argv[2:], group="")
