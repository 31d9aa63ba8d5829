"""Conditions, reasons and views of a service, and publishing them. It changes nothing on the host."""
