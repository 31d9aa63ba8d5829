"""The loop: gathers what changed, reads, admits, plans, applies, starts jobs, publishes."""
