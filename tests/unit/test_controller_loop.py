"""When the controller looks: never with the memory of one history and another's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tambourinefs.controller import loop
from tambourinefs.controller.loop import Controller


class _Counting(Controller):
    """Counts its looks instead of taking them."""

    def __init__(self) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.looks = 0
        self.looked = threading.Event()

    def look(self) -> bool:
        self.looks += 1
        self.looked.set()
        return False


@contextmanager
def _running(controller: Controller) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=controller.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        controller._bell.set()
        thread.join(10)
        controller._writers.close()
        assert not thread.is_alive()


def test_it_waits_until_all_that_it_knows_is_of_one_api_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "OWED_EVERY", 0.01)
    controller = _Counting()
    for reflector in controller.reflectors:
        reflector.synced.set()
    (services,) = controller.services.reflectors
    services.error = "the API server does not answer"
    asked = threading.Event()

    class Bell(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout == 0.01:  # it came back owing a look
                asked.set()
            return super().wait(timeout)

    controller._bell = Bell()
    controller._bell.set()
    with _running(controller):
        assert asked.wait(10)
        assert controller.looks == 0
        services.error = ""  # it has been listed anew; the leases, last of all, ring no bell
        assert controller.looked.wait(10)


def test_a_reflector_is_current_from_its_first_list_until_something_fails() -> None:
    controller = _Counting()

    def current() -> bool:
        return controller.members.current

    assert not current()
    controller.members.synced.set()
    assert current()
    controller.members.error = "the watch was cut"
    assert not current()
    controller._writers.close()
