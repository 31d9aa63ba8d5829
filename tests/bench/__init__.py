"""The bench: how fast Tambourine is beside what people use today. Ratios in one run, medians with their spread.

python -m tests.bench              all rows, on a lab host of its own; writes bench.json, prints a Markdown table
python -m tests.bench values idle  these rows only
"""
