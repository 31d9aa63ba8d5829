"""Puts Tambourine on a host: `tambourine install`, or `/usr/bin/python3 -m tambourinefs.install` from a bare source tree.

Needs the standard library and systemd's own programs alone, so that it can run before anything is installed. Each step
looks first and does only what is missing: run twice it changes nothing, killed anywhere and run again it gets there.
A Debian package does `environment` in its own way and shares the rest.
"""
