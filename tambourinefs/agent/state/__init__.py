"""Applied state: what the agent has done to this host and what stood there before, durable. It decides nothing."""
