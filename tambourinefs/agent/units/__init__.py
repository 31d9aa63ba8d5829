"""Units of the host's systemd: what was read of them, what changed, and jobs on them.

It decides nothing: which units matter and what happens to them is for the layers above.
"""
