"""The Kubernetes side of the cluster: which node shall have what, and what became of it."""
