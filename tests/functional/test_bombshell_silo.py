"""The promises of test_bombshell_rpcs and the races of test_bombshell_uploads again, over a real silo mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from functional.bombshells import Running
from functional.silo_host import SiloHost
from functional.test_bombshell_rpcs import *  # noqa: F403
from functional.test_bombshell_uploads import (
    test_an_upload_to_a_directory_that_is_removed_fails,
    test_counting_by_if_match_loses_no_count,
    test_many_writers_of_many_files,
    test_no_reader_ever_sees_a_mixture,
    test_one_of_many_makes_what_must_be_absent,
    test_what_a_killed_server_left_is_removed_by_the_next,
)
from functional.test_bombshell_watch import (
    test_a_directory_that_is_gone_ends_its_watch,
    test_a_file_is_watched_through_its_replacements,
    test_changes_in_new_directories_are_told,
    test_depth_bounds_what_is_told,
    test_the_first_bell_comes_when_the_watch_is_in_place,
)

__all__ = [
    "test_a_directory_that_is_gone_ends_its_watch",
    "test_a_file_is_watched_through_its_replacements",
    "test_an_upload_to_a_directory_that_is_removed_fails",
    "test_changes_in_new_directories_are_told",
    "test_counting_by_if_match_loses_no_count",
    "test_depth_bounds_what_is_told",
    "test_many_writers_of_many_files",
    "test_no_reader_ever_sees_a_mixture",
    "test_one_of_many_makes_what_must_be_absent",
    "test_the_first_bell_comes_when_the_watch_is_in_place",
    "test_what_a_killed_server_left_is_removed_by_the_next",
]


@pytest.fixture
def bombshell(shared_silo: SiloHost, make_bombshell: Callable[..., Running]) -> Iterator[Running]:
    """One server over the silo, which is emptied after each test."""
    running = make_bombshell(silo=shared_silo.mount)
    yield running
    with running.client() as client:
        for path in running.content():
            client.remove("silo", path.name, recursive=True)
    assert running.content() == []
