"""The Kubernetes side of one node: its assignments go down to Bombshell, its statuses up to the API server."""
