"""Reads journald: the last lines of a unit, and which units have logged something. It never writes."""
