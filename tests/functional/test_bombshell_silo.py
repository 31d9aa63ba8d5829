"""The promises of test_bombshell_rpcs and the races of test_bombshell_uploads again, over a real silo mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.functional.bombshells import Running, a_bombshell
from tests.functional.silo_host import SiloHost
from tests.functional.test_bombshell_rpcs import *  # noqa: F403
from tests.functional.test_bombshell_uploads import (
    test_an_upload_to_a_directory_that_is_removed_fails,
    test_counting_by_if_match_loses_no_count,
    test_leftovers_of_a_killed_server_are_removed,
    test_many_writers_of_many_files,
    test_no_reader_ever_sees_a_mixture,
    test_one_of_many_concurrent_if_absent_writes_wins,
)
from tests.functional.test_bombshell_watch import (
    test_a_directory_that_is_gone_ends_its_watch,
    test_a_file_is_watched_through_its_replacements,
    test_changes_in_new_directories_are_reported,
    test_depth_bounds_the_events,
    test_first_event_comes_when_the_watch_is_in_place,
)

__all__ = [
    "test_a_directory_that_is_gone_ends_its_watch",
    "test_a_file_is_watched_through_its_replacements",
    "test_an_upload_to_a_directory_that_is_removed_fails",
    "test_changes_in_new_directories_are_reported",
    "test_counting_by_if_match_loses_no_count",
    "test_depth_bounds_the_events",
    "test_first_event_comes_when_the_watch_is_in_place",
    "test_leftovers_of_a_killed_server_are_removed",
    "test_many_writers_of_many_files",
    "test_no_reader_ever_sees_a_mixture",
    "test_one_of_many_concurrent_if_absent_writes_wins",
]


@pytest.fixture(scope="module")
def shared_bombshell(
    shared_silo: SiloHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with a_bombshell(tmp_path_factory.mktemp("shared"), silo=shared_silo.mount) as running:
        yield running


@pytest.fixture  # type: ignore[no-redef]  # in place of that module's
def bombshell(
    shared_silo: SiloHost,
    shared_bombshell: Running,
    make_bombshell: Callable[..., Running],
    request: pytest.FixtureRequest,
) -> Iterator[Running]:
    """A server over the silo, which is emptied after each test. Those that may end a server get one of their own."""
    promises = request.function.__module__.endswith("test_bombshell_rpcs")
    running = shared_bombshell if promises else make_bombshell(silo=shared_silo.mount)
    yield running
    if running.process is not None:
        running.empty()
