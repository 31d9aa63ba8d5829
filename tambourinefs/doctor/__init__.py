"""`tambourine doctor`: looks at everything that this host needs for Tambourine and says what mends it.

Each module is one group of checks: `probe` touches the world and returns frozen facts, `verdict` makes findings of them and
is pure. It must work when everything is broken: nothing here goes through a daemon of ours where it can do without, a FUSE
mount is touched by a child process alone, and whatever asks somebody has a deadline.
"""
