"""Carries out the content part of a plan: files, enablement, reload. It decides nothing."""
