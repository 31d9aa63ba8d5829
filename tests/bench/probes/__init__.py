"""Run inside a lab host, by its own Python, where the checkout is /src. Each prints JSON."""
