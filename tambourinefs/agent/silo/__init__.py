"""Reads manifests from the silo and watches it. It never writes there, and decides nothing about a manifest."""
