"""One file a process: the only place where rooms are joined, and where each process opens its nursery."""
