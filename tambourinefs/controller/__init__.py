"""The cluster side of Tambourine: which node is assigned what, in which order, and the summary of what nodes report.

`snapshot` is what the API server holds; `assignments`, `rollout`, `summary` and `history` are pure functions of it; `loop`
reads and writes. Only sync acts on a node.
"""
