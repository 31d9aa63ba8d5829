"""The status file system: a store of service views, and the mount that shows them as immutable
files.

It renders what it is given (`StatusStore.publish`) and reads this host's own control groups and
processes. It must not ask systemd, D-Bus or the journal, and it must not know where a view comes
from.
"""
