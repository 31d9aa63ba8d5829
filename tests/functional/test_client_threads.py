"""One client in several threads while its server dies again and again: each call is answered or Unreachable."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from tambourinefs.errors import Unreachable
from tests.functional.bombshells import Running, wait_until


def test_threads_share_a_client_through_crashes(make_bombshell: Callable[..., Running]) -> None:
    """A thread that lost the connection closes it; another that was about to call on it is told so in our words."""
    running = make_bombshell()
    over = threading.Event()
    seen: Counter[str] = Counter()
    broken: list[BaseException] = []

    def call(number: int) -> None:
        while not over.is_set():
            try:
                client.write("silo", f"f{number}", b"x")
                seen["answered"] += 1
            except Unreachable:
                seen["unreachable"] += 1
            except BaseException as error:
                broken.append(error)
                return

    def passed(what: str, count: int) -> bool:
        return seen[what] > count

    with running.client(timeout=10) as client:
        threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            running.kill()
            lost = seen["unreachable"]
            wait_until(partial(passed, "unreachable", lost + 300), "the loss is noticed")
            running.start()
            good = seen["answered"]
            wait_until(partial(passed, "answered", good + 20), "it goes on by itself")
        over.set()
        for thread in threads:
            thread.join()
    assert not broken, broken
