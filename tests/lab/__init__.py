"""The lab: real systemd machines out of nothing but this machine, in seconds, as root.

A host is a systemd-nspawn container on an overlay of `/`, with /etc and /var on an ext4 of its own (a loop
device, so that a power cut can be played), a network namespace and, in every cgroup hierarchy, a cgroup of
its own. Needs the packages systemd-container, dbus, e2fsprogs, util-linux and the system's python3, no more.

The modules, lower ones first: `tools` (programs and messages), `state` (where a lab lives), `cgroups`, `disk`,
`tree` (the root a host boots from), `machine` (start, stop, crash), `lab` (several machines), `hosts` (the API of the
tests), `main`.
"""
