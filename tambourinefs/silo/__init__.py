"""The silo: a POSIX file system over a store directory that only its writers may change.

It keeps every promise of fsync(2) and knows nothing of what it holds: manifests are the agent's
business.
"""
