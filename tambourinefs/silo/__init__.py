"""The silo: a POSIX file system over a store directory that only its writers may change."""
