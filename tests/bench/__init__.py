"""Measurements of Tambourine against what would be used instead, as ratios within one run.

python -m tests.bench              all rows, on a lab host of its own; writes bench.json, prints a Markdown table
python -m tests.bench values idle  these rows only
"""
