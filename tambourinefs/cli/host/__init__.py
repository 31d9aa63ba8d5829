"""Commands of `tambourine` for services: clients of Bombshell. One module a command, loaded when it is used.

They read and write through Bombshell alone, never a file of the host.
"""
