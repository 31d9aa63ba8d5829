"""What is read from the host just before a rendering: control groups, processes, the clock,
certificates.
"""
