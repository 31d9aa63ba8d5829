"""`kubectl tambourine`: clients of the API server, with the user's own rights. One module a command, loaded when used.

They change Tambourines and read what nodes report; they never talk to a node.
"""
