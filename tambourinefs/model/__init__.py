"""Pure data and functions: manifests, configuration, names, observed units, statuses.

Nothing here may read a file, open a socket or start a process.
"""
