"""Whether this host accepts a manifest, and why not: syntax, policy, owners of names, the host check. It changes nothing."""
