"""Volumes that are not there, die, hang and come back; Watch on a real status mount."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tambourinefs import errors
from tambourinefs.mount import mounts
from tambourinefs.rpc.client import Client
from tambourinefs.rpc.io_pb2_grpc import BombshellStub
from tests.functional.bombshells import Running, wait_until
from tests.functional.procfs_mount import Mounted, hello, status_mount
from tests.functional.silo_host import SiloHost
from tests.functional.test_bombshell_guard import Silence
from tests.functional.test_bombshell_rpcs import chunk, commit, header, reason
from tests.functional.test_bombshell_watch import until

Make = Callable[..., Running]
SERVICE = "tambourine.bombshell.v1.Bombshell"


@pytest.fixture
def statuses(tmp_path: Path) -> Iterator[Mounted]:
    with status_mount(tmp_path / "statuses") as mounted:
        yield mounted


@pytest.fixture
def silo_host(make_silo: Callable[..., SiloHost]) -> SiloHost:
    return make_silo()


@pytest.fixture
def whole(silo_host: SiloHost, statuses: Mounted, make_bombshell: Make) -> Running:
    """A Bombshell as on a host: both volumes are mounts, and it takes nothing else."""
    return make_bombshell(silo=silo_host.mount, proc=statuses.root, plain=False)


def health(running: Running) -> dict[str, str]:
    names = health_pb2.HealthCheckResponse.ServingStatus
    with running.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return {
            name: names.Name(
                stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
            )
            for name in ("", SERVICE, "silo", "proc")
        }


ALL_SERVING = {"": "SERVING", SERVICE: "SERVING", "silo": "SERVING", "proc": "SERVING"}
NO_SILO = {"": "NOT_SERVING", SERVICE: "NOT_SERVING", "silo": "NOT_SERVING", "proc": "SERVING"}


def test_health_is_that_of_both_mounts(whole: Running, silo_host: SiloHost) -> None:
    assert health(whole) == ALL_SERVING
    silo_host.stop()
    assert health(whole) == NO_SILO
    silo_host.start()
    assert health(whole) == ALL_SERVING


def test_health_watchers_are_notified(whole: Running, silo_host: SiloHost) -> None:
    with whole.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="silo"), timeout=5
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        silo_host.stop()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


def test_an_unknown_service_has_no_health(whole: Running) -> None:
    with whole.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_services_and_messages(bombshell: Running) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    with bombshell.channel() as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        pool = DescriptorPool(database)
        service = pool.FindServiceByName(SERVICE)
        assert [method.name for method in service.methods] == [
            *("Write", "Read", "List", "Stat", "Remove", "MakeDirectory", "Watch")
        ]
        assert pool.FindMessageTypeByName("tambourine.bombshell.v1.WriteHeader").fields_by_name


def test_a_directory_that_is_no_mount_is_unavailable(make_bombshell: Make) -> None:
    """A dead mount that was detached looks like this: an empty directory, without an error."""
    running = make_bombshell(plain=False)
    with running.client() as client:
        for call in (
            lambda: client.list("silo", ""),
            lambda: client.write("silo", "f", b""),
            lambda: client.read("proc", "services.txt"),
            lambda: next(client.watch("silo")),
        ):
            with pytest.raises(errors.Unreachable, match="not mounted"):
                call()
    assert list((running.home / "silo").iterdir()) == []
    assert set(health(running).values()) == {"NOT_SERVING"}


def test_a_killed_silo_is_unavailable_and_is_used_again_when_it_is_back(
    whole: Running, silo_host: SiloHost
) -> None:
    """Trouble 26."""
    with whole.client() as client, whole.channel() as channel:
        client.write("silo", "f", b"1")
        silence = Silence(header(b"g"), chunk(b"x"))
        call = BombshellStub(channel).Write.future(silence)
        _, chunks = client.read_stream("silo", "f")
        wait_until(whole.temporaries, "the upload has begun")
        silo_host.kill()
        silence.say(chunk(b"y"))
        silence.say(commit())
        silence.close()
        error = call.exception(60)
        assert isinstance(error, grpc.RpcError)
        assert reason(error) == (grpc.StatusCode.UNAVAILABLE, "ENOTCONN")
        assert list(chunks) in ([b"1"], [])
        for _ in range(2):
            with pytest.raises(errors.Unreachable):
                client.stat("silo", "f")
            mounts.detach(silo_host.mount)
        assert health(whole) == NO_SILO
        assert client.list("proc", "")
        silo_host.start()
        assert client.read("silo", "f")[1] == b"1"
        wait_until(lambda: not whole.temporaries(), "the leftover of the upload is gone")


def test_a_watch_outlives_its_volume(whole: Running, silo_host: SiloHost) -> None:
    with whole.client() as client, client.watch("silo", "", 2) as watch:
        assert next(watch) == ("resync", b"")
        for how in (silo_host.stop, silo_host.kill):
            how()
            mounts.detach(silo_host.mount)
            silo_host.start()
            until(watch, "resync", b"")
            client.write("silo", "d/f", how.__name__.encode(), parents=True)
            until(watch, "changed", b"d/f")


def test_hanging_silo_does_not_block_other_calls(whole: Running, silo_host: SiloHost) -> None:
    with whole.client(timeout=5) as client:
        client.write("silo", "f", b"1")
        with silo_host.frozen():
            wait_until(lambda: health(whole) == NO_SILO, "its hanging is said")
            with pytest.raises(errors.Unreachable, match="does not answer"):
                client.stat("silo", "f")
            for _ in range(50):
                client.list("proc", "")
        wait_until(lambda: health(whole) == ALL_SERVING, "it is healthy again")
        assert client.read("silo", "f")[1] == b"1"


def test_it_can_be_stopped_while_the_silo_hangs(whole: Running, silo_host: SiloHost) -> None:
    with whole.client(timeout=2) as client:
        client.write("silo", "f", bytes(1000))
        with silo_host.frozen():
            with pytest.raises(errors.Unreachable):
                client.write("silo", "g", b"")
            assert whole.kill(signal.SIGTERM) == 0


@pytest.fixture
def proc_client(whole: Running) -> Iterator[Client]:
    with whole.client() as client:
        yield client


def test_a_status_is_read_whole(statuses: Mounted, proc_client: Client) -> None:
    view = hello()
    statuses.publish(view)
    for name in ("status", "status.json", "pid", "conditions"):
        entry, data = proc_client.read("proc", f"local/hello/{name}")
        assert data == (statuses.of(view) / name).read_bytes() or name == "status"
        assert entry.size == len(data) > 0
    assert b"added" in proc_client.read("proc", "events.log")[1]


@pytest.mark.timing
def test_changed_status_notifies(statuses: Mounted, proc_client: Client) -> None:
    statuses.publish(hello())
    for path in ("local/hello/status.json", "local/hello", "local", ""):
        with proc_client.watch("proc", path) as watch:
            assert next(watch) == ("resync", path.encode())
            for state in ("failed", "active"):
                begun = time.monotonic()
                statuses.publish(hello(active_state=state))
                assert next(watch) == ("changed", path.encode())
                assert time.monotonic() - begun < 1
                text = proc_client.read("proc", "local/hello/status.json")[1]
                assert json.loads(text)["activeState"] == state


def test_event_notifies_watchers_of_the_log(statuses: Mounted, proc_client: Client) -> None:
    statuses.publish(hello())
    with proc_client.watch("proc", "events.log", timeout=20) as watch:
        assert next(watch) == ("resync", b"events.log")
        for state in ("failed", "active"):
            statuses.publish(hello(active_state=state))
            assert next(watch) == ("changed", b"events.log")
            assert f"-> {state}".encode() in proc_client.read("proc", "events.log")[1]


def test_new_service_notifies_at_the_root(statuses: Mounted, proc_client: Client) -> None:
    with proc_client.watch("proc") as watch:
        next(watch)
        statuses.publish(hello("other"))
        assert next(watch) == ("changed", b"")
        assert b"local/other" in proc_client.read("proc", "services.txt")[1] or proc_client.stat(
            "proc", "local/other"
        )


def test_a_withdrawn_service_ends_its_watch(statuses: Mounted, proc_client: Client) -> None:
    view = hello()
    for path in ("local/hello/status.json", "local/hello"):
        statuses.publish(view)
        with proc_client.watch("proc", path) as watch:
            next(watch)
            statuses.withdraw(view)
            until(watch, "removed", path.encode())
            with pytest.raises(errors.NotFound):
                next(watch)
    with pytest.raises(errors.NotFound):
        next(proc_client.watch("proc", "local/hello"))


def test_a_watch_on_statuses_outlives_the_agent(
    silo_host: SiloHost, make_bombshell: Make, tmp_path: Path
) -> None:
    where = tmp_path / "statuses"
    with status_mount(where) as first:
        first.publish(hello())
        running = make_bombshell(silo=silo_host.mount, proc=where, plain=False)
        client = running.client()
        watch = client.watch("proc")
        assert next(watch)[0] == "resync"
    where.rmdir()
    with status_mount(where) as second:
        second.publish(hello("second"))
        until(watch, "resync", b"")
        second.publish(hello("third"))
        until(watch, "changed", b"")
        watch.close()
        client.close()
        running.kill(signal.SIGTERM)


def test_many_watchers_cost_nothing_while_nothing_changes(
    statuses: Mounted, make_bombshell: Make, silo_host: SiloHost
) -> None:
    running = make_bombshell(silo=silo_host.mount, proc=statuses.root, plain=False, max_watches=64)
    statuses.publish(hello())
    with running.client() as client:
        watches = [client.watch("proc", "local/hello") for _ in range(20)]
        watches += [client.watch("silo", "", 3) for _ in range(20)]
        for watch in watches:
            assert next(watch)[0] == "resync"

        def ticks() -> int:
            fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before, begun = ticks(), time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 3, "three seconds have passed")
        used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        assert used < 0.3, f"{used} s of processor time in 3 s"
        for watch in watches:
            watch.close()
