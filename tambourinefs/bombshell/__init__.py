"""Bombshell: basic IO on the two mounts over gRPC.

It authenticates its clients and checks nothing else: what may be written is the silo's and the
agent's decision.
"""
