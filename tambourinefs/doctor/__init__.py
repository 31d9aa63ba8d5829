"""`tambourine doctor`: checks everything that Tambourine needs on this host.

Each module is one check: `probe` reads the host and returns a frozen value, `findings` turns that
value into findings and is pure. The checks change nothing and have to work when everything else is
broken: they do not go through Tambourine's daemons where they can avoid it, only a child process
touches a FUSE mount, and every request has a deadline.
"""
