"""Tambourine's build: everything is in setup.cfg."""

from setuptools import setup

setup()
