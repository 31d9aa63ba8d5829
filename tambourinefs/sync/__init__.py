"""The cluster side of one node: assignments go down through Bombshell, statuses go up to the API server.

It touches no unit and no file of the host: what an assignment does is the agent's part.
"""
