"""Pure data and pure functions on it: manifests, configuration, unit names, what systemd reports, statuses.

Nothing here reads a file, opens a socket or starts a process; a promise that import-linter keeps.
"""
