"""Tambourine's mounts: made by mount(2), found in mountinfo, kept by systemd, seen by their server.

Nothing here serves requests or imports FUSE, and nothing here touches a mounted file system from
inside: a server that asked its own mount would wait for itself.
"""
