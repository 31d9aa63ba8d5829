"""The next actions, as a function of manifests, applied state and units, and what each does to a record. Pure."""
