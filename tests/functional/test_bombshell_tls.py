"""Who gets in: certificates, the socket's permissions, one server at a time."""

from __future__ import annotations

import grp
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tambourinefs import errors
from tambourinefs.rpc import pki
from tambourinefs.rpc.client import Client
from tests.functional.bombshells import Running, wait_until

Make = Callable[..., Running]


def served_certificate(running: Running) -> bytes:
    """What a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(running.pki / "ca.crt")
    context.load_cert_chain(running.pki / "client.crt", running.pki / "client.key")
    context.set_alpn_protocols(["h2"])
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(10)
        plain.connect(str(running.socket))
        with context.wrap_socket(plain, server_hostname="bombshell.tambourine") as secure:
            der = secure.getpeercert(binary_form=True)
    assert der is not None
    return der


def on_disk(running: Running) -> bytes:
    return ssl.PEM_cert_to_DER_cert((running.pki / "server.crt").read_text())


def test_a_renewed_certificate_is_served_to_new_connections_without_restart(
    bombshell: Running,
) -> None:
    before = served_certificate(bombshell)
    assert before == on_disk(bombshell)
    with bombshell.client() as old:
        old.write("silo", "f", b"1")
        assert pki.renew(bombshell.pki, force=True) == ("ca", "server", "client")
        assert served_certificate(bombshell) == on_disk(bombshell) != before
        old.write("silo", "f", b"2")  # takes up its own, too
    assert "loaded a renewed certificate" in bombshell.log


def test_a_whole_new_authority_is_taken_up_too(bombshell: Running) -> None:
    with bombshell.client() as client:
        client.write("silo", "f", b"1")
        pki.init(bombshell.pki, owners=pki.Owners(), force=True)
        assert served_certificate(bombshell) == on_disk(bombshell)
        client.write("silo", "f", b"2")


def test_a_pair_that_does_not_match_is_not_taken_up(bombshell: Running, tmp_path: Path) -> None:
    good = served_certificate(bombshell)
    pki.init(tmp_path / "other", owners=pki.Owners())
    (tmp_path / "other" / "server.crt").replace(bombshell.pki / "server.crt")
    assert served_certificate(bombshell) == good
    (bombshell.pki / "server.key").unlink()
    assert served_certificate(bombshell) == good
    assert "keeping the old certificate" in bombshell.log


def test_connections_are_ended_when_old_so_that_they_meet_the_new_certificate() -> None:
    from tambourinefs.bombshell.limits import Limits

    assert 60 <= Limits().connection_age <= 24 * 3600


def test_connection_without_a_client_certificate_is_refused(bombshell: Running) -> None:
    import grpc

    from tambourinefs.rpc import io_pb2
    from tambourinefs.rpc.io_pb2_grpc import BombshellStub

    credentials = grpc.ssl_channel_credentials((bombshell.pki / "ca.crt").read_bytes())
    options = [("grpc.default_authority", "bombshell.tambourine")]
    channel = grpc.secure_channel(f"unix:{bombshell.socket}", credentials, options)
    with channel, pytest.raises(grpc.RpcError) as caught:
        BombshellStub(channel).Stat(io_pb2.StatRequest(volume=io_pb2.VOLUME_SILO))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    channel = grpc.insecure_channel(f"unix:{bombshell.socket}", options)
    with channel, pytest.raises(grpc.RpcError):
        BombshellStub(channel).Stat(io_pb2.StatRequest(volume=io_pb2.VOLUME_SILO), timeout=5)


def test_where_none_is_required_a_client_gets_in_without_one(make_bombshell: Make) -> None:
    """By TLS still: it sees who the server is."""
    import grpc

    from tambourinefs.rpc import io_pb2
    from tambourinefs.rpc.io_pb2_grpc import BombshellStub

    running = make_bombshell(require_client_certificate="false")
    (running.silo / "f").write_text("x")
    credentials = grpc.ssl_channel_credentials((running.pki / "ca.crt").read_bytes())
    options = [("grpc.default_authority", "bombshell.tambourine")]
    with grpc.secure_channel(f"unix:{running.socket}", credentials, options) as channel:
        request = io_pb2.StatRequest(volume=io_pb2.VOLUME_SILO, path=b"f")
        assert BombshellStub(channel).Stat(request, timeout=10).entry.size == 1
    with (
        grpc.insecure_channel(f"unix:{running.socket}", options) as channel,
        pytest.raises(grpc.RpcError),
    ):
        BombshellStub(channel).Stat(request, timeout=5)
    with running.client() as client:  # who has one shows it
        assert client.stat("silo", "f").size == 1


def test_it_runs_as_a_plain_program_by_its_flags_alone(tmp_path: Path) -> None:
    running = Running(tmp_path)
    (running.silo / "f").write_text("silo")
    (running.proc / "f").write_text("proc")
    running.flags = [
        *("bombshell", "--foreground", "--plain", "--config=/nonexistent/config.toml"),
        *(f"--socket={running.socket}", f"--pki={running.pki}", f"--silo={running.silo}"),
        *(f"--proc={running.proc}", "--group=daemon"),
    ]
    try:
        running.start()
        assert running.socket.stat().st_gid == grp.getgrnam("daemon").gr_gid
        with running.client() as client:
            assert client.read("silo", "f")[1] == b"silo"
            assert client.read("proc", "f")[1] == b"proc"
    finally:
        running.end()


def test_a_certificate_of_another_authority_is_refused_by_both_ends(
    bombshell: Running, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    pki.init(other, owners=pki.Owners())
    for ca, pair in ((other, bombshell.pki), (bombshell.pki, other)):
        client = Client(bombshell.socket, ca / "ca.crt", pair / "client.crt", pair / "client.key")
        with client, pytest.raises(errors.Unreachable):
            client.stat("silo", "")


def test_a_server_certificate_is_no_client_certificate(bombshell: Running) -> None:
    directory = bombshell.pki
    with (
        Client(
            bombshell.socket,
            directory / "ca.crt",
            directory / "server.crt",
            directory / "server.key",
        ) as client,
        pytest.raises(errors.Unreachable),
    ):
        client.stat("silo", "")


def test_the_log_names_the_certificate(bombshell: Running) -> None:
    with bombshell.client() as client:
        client.write("silo", "f", b"")
    assert "wrote silo:/f for tambourine" in bombshell.log


def test_the_socket_has_its_mode_whatever_the_umask(bombshell: Running) -> None:
    assert stat.S_IMODE(bombshell.socket.stat().st_mode) == 0o660


def test_socket_has_its_mode_from_the_start(make_bombshell: Make) -> None:
    running = make_bombshell()
    running.kill(signal.SIGTERM)
    seen: set[int] = set()
    process = running.spawn()
    running.process = process

    def look() -> bool:
        try:
            seen.add(stat.S_IMODE(running.socket.stat().st_mode))
        except FileNotFoundError:
            return False
        return True

    wait_until(look, "the socket is there")
    wait_until(running.answers, "it serves")
    assert seen == {0o660}


def test_a_second_server_is_refused_and_the_first_serves_on(bombshell: Running) -> None:
    inode = bombshell.socket.stat().st_ino
    second = bombshell.spawn()
    assert second.wait(30) != 0
    assert (
        f"error: another Bombshell serves {bombshell.socket} (process {bombshell.pid})"
        in bombshell.log
    )
    assert bombshell.socket.stat().st_ino == inode
    assert bombshell.answers()


def test_a_stale_socket_is_replaced_and_ones_own_is_removed(make_bombshell: Make) -> None:
    running = make_bombshell()
    running.kill()
    assert running.socket.is_socket()
    running.start()
    assert running.kill(signal.SIGTERM) == 0
    assert not running.socket.exists()
    assert [path.name for path in running.home.iterdir() if "sock" in path.name] == ["b.sock.lock"]


def test_a_socket_that_is_not_ours_is_not_removed(bombshell: Running) -> None:
    bombshell.socket.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(bombshell.socket))
        assert bombshell.kill(signal.SIGTERM) == 0
        assert bombshell.socket.is_socket()


def run(running: Running) -> subprocess.CompletedProcess[str]:
    return subprocess.run(running.argv, capture_output=True, text=True, timeout=60)


def test_path_that_is_not_a_socket_is_kept(make_bombshell: Make) -> None:
    running = make_bombshell()
    running.kill(signal.SIGTERM)
    running.socket.write_text("precious")
    assert "exists and is not a socket" in run(running).stderr
    assert running.socket.read_text() == "precious"


@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_a_socket_path_that_is_too_long_is_refused_clearly(
    make_bombshell: Make, length: int, fits: bool
) -> None:
    running = make_bombshell()
    running.kill(signal.SIGTERM)
    deep = running.home / ("d" * (length - len(str(running.home)) - 3))
    deep.mkdir()
    config = running.home / "config.toml"
    config.write_text(config.read_text().replace(str(running.socket), str(deep / "s")))
    running.socket = deep / "s"
    assert len(str(running.socket)) == length
    if fits:
        running.start()
        return
    assert "107 bytes" in run(running).stderr
    with running.client() as client, pytest.raises(errors.InvalidInput, match="107"):
        client.stat("silo", "")


def test_connection_errors_name_the_cause(bombshell: Running, tmp_path: Path) -> None:
    with bombshell.client() as client:
        client.stat("silo", "")
        bombshell.kill()
        with pytest.raises(errors.Unreachable, match="connection refused") as caught:
            client.stat("silo", "")
        assert "systemctl status tambourine-bombshell" in caught.value.hint
        bombshell.socket.unlink()
        with pytest.raises(errors.Unreachable, match="the socket does not exist"):
            client.stat("silo", "")
        bombshell.start()
        client.stat("silo", "")  # reconnects
    nowhere = Client(bombshell.socket, tmp_path / "ca.crt", tmp_path / "c.crt", tmp_path / "c.key")
    with nowhere, pytest.raises(errors.Unreachable, match="cannot read") as caught:
        nowhere.stat("silo", "")
    assert "pki init" in caught.value.hint


def test_missing_group_membership_is_explained(bombshell: Running) -> None:
    script = (
        "import sys; from tambourinefs.rpc.client import Client; from tambourinefs.errors import Unreachable\n"
        "home = sys.argv[1]\n"
        "files = [home + '/copy/' + name for name in ('ca.crt', 'client.crt', 'client.key')]\n"
        "try: Client(home + '/b.sock', *files).stat('silo', '')\n"
        "except Unreachable as error: print(error.message, '|', error.hint)\n"
    )
    copy = bombshell.home / "copy"
    copy.mkdir(mode=0o755)
    for name in ("ca.crt", "client.crt", "client.key"):
        (copy / name).write_bytes((bombshell.pki / name).read_bytes())
        (copy / name).chmod(0o644)
    parents = [*bombshell.home.parents][:-2]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (bombshell.home, *parents)}
    for path, mode in modes.items():
        path.chmod(mode | 0o011)
    try:
        done = subprocess.run(
            # Another user who can read this checkout's Python wherever it is; connecting takes the right to write.
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search",
             "--ambient-caps=-all,+dac_read_search", sys.executable, "-c", script, str(bombshell.home)],
            capture_output=True, text=True,
            cwd="/", env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert "not permitted to connect" in done.stdout, done.stderr
    assert "usermod -aG tambourine" in done.stdout
