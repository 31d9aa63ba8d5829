"""Tambourine: install, manage and observe systemd services on Kubernetes nodes."""

__version__ = "0.1.0"
