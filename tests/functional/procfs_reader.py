"""Reads files COUNT times in all and looks for a mixture: `procfs_reader.py COUNT FILE…`, one JSON answer on stdout.

Every text that the storm publishes is `<N>` repeated; a file of one publish names one N only.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys

count, files = int(sys.argv[1]), sys.argv[2:]
torn, seen = 0, set()
for file in itertools.islice(itertools.cycle(files), count):
    fd = os.open(file, os.O_RDONLY)
    size = os.fstat(fd).st_size
    half = os.read(fd, max(size // 2, 1))
    text = half + os.read(fd, 1 << 20)
    os.close(fd)
    numbers = set(re.findall(rb"<(\d+)>", text))
    torn += len(numbers) != 1 or len(text) != size or text.count(b"<") != text.count(b">")
    seen |= numbers
print(json.dumps({"reads": count, "torn": torn, "publishes_seen": len(seen)}))
