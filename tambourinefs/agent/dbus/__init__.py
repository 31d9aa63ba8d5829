"""The D-Bus system bus and systemd's methods on it.

It keeps no unit and no job: what it receives it hands on as messages.
"""
