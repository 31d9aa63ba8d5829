"""One module for each process: the only place that joins packages and opens a nursery."""
