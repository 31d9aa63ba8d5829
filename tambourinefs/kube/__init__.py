"""The API server, as controller and sync use it: one small client, a reflector, Leases.

Threads, not trio: the client blocks.
"""
