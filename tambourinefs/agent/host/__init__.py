"""The host's files: what a manifest puts there, read, written and put back. It decides nothing and asks systemd nothing."""
