"""The status file system: renders views that it is given into immutable files, and never asks anybody."""
