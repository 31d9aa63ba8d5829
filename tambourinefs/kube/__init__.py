"""Access to the API server for controller, sync and command line: requests, reflectors, Leases, events, the work loop.

Built on threads, since the kubernetes client blocks. Nothing here decides what a node gets or reports.
"""
