"""When the controller reconciles: never with objects of two histories of the API server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tambourinefs.controller.loop import CHECK_EVERY, NOT_CURRENT_EVERY, STATUS_EVERY, Controller
from tambourinefs.errors import Unreachable


class _Counting(Controller):
    """Counts reconciliations instead of doing them."""

    def __init__(self) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.count = 0
        self.waits = False
        self.error: Unreachable | None = None

    def reconcile(self) -> bool:
        if self.error:
            raise self.error
        self.count += 1
        return self.waits


@pytest.fixture
def controller() -> Iterator[_Counting]:
    made = _Counting()
    for reflector in made.reflectors:
        reflector.synced.set()
    yield made
    made._writers.close()


def test_it_reconciles_only_while_every_reflector_is_current(controller: _Counting) -> None:
    (services,) = controller.services.reflectors
    services.error = "the API server does not answer"
    assert controller.step(notified=True) == NOT_CURRENT_EVERY
    assert controller.count == 0
    services.error = ""  # listed again; the Leases, listed last, are not a change
    assert controller.step(notified=False) == CHECK_EVERY
    assert controller.count == 1


def test_without_a_change_nothing_is_reconciled(controller: _Counting) -> None:
    controller.step()
    assert controller.step(notified=False) == CHECK_EVERY
    assert controller.count == 1


def test_what_had_to_wait_is_reconciled_without_a_change(controller: _Counting) -> None:
    controller.waits = True
    assert controller.step() == STATUS_EVERY / 4
    controller.waits = False
    controller.step(notified=False)
    assert controller.count == 2


def test_a_step_that_failed_is_repeated_without_a_change(controller: _Counting) -> None:
    controller.error = Unreachable("the API server does not answer")
    with pytest.raises(Unreachable):
        controller.step()
    controller.error = None
    controller.step(notified=False)
    assert controller.count == 1


def test_a_reflector_is_current_from_its_first_list_until_a_failure() -> None:
    controller = _Counting()
    states = [controller.members.current]
    controller.members.synced.set()
    states.append(controller.members.current)
    controller.members.error = "the watch was cut off"
    states.append(controller.members.current)
    assert states == [False, True, False]
    controller._writers.close()
