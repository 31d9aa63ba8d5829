"""Bombshell: basic IO on the two mounts over gRPC. It authenticates, never authorizes, and has no opinions."""
