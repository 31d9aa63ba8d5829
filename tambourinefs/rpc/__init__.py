"""The protocol between Bombshell and its clients: generated messages, errors, certificates and the
client.
"""
