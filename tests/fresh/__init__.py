"""`make test-fresh`: the README's commands on a Debian that has nothing yet, in a container.

It finds what the project needs and does not install. Nothing but Python's own modules is imported
here, and nothing of a host's environment but its network settings reaches the container.
"""
