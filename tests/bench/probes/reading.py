"""Microseconds of open + read + close, of several files in turns: reading.py ROUNDS COUNT FILE…"""

import json
import os
import sys
import time


def batch(path: str, count: int) -> float:
    """Seconds for each of `count` times open, read to the end, close."""
    begin = time.perf_counter()
    for _ in range(count):
        fd = os.open(path, os.O_RDONLY)
        while os.read(fd, 1 << 20):
            pass
        os.close(fd)
    return (time.perf_counter() - begin) / count


rounds, count, *paths = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
for path in paths:
    batch(path, 5)  # the first look fills caches, in all of them
print(json.dumps([[batch(path, count) for path in paths] for _ in range(rounds)]))
