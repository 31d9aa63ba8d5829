"""`tambourine pki`: a private authority on disk."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tambourinefs import errors
from tambourinefs.model import paths
from tambourinefs.procfs.serving import read_expirations
from tambourinefs.rpc import pki

MINE = pki.Owners()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_init_makes_three_pairs_with_their_owners(tmp_path: Path) -> None:
    made = pki.init(tmp_path / "pki", owners=pki.Owners(server_uid=1234, client_gid=4321))
    assert made == ("ca", "server", "client")
    found = {
        path.name: (oct(stat.S_IMODE(path.stat().st_mode)), path.stat().st_uid, path.stat().st_gid)
        for path in (tmp_path / "pki").iterdir()
    }
    assert found == {
        "expirations.json": ("0o644", 0, 0),
        "ca.crt": ("0o644", 0, 0),
        "ca.key": ("0o600", 0, 0),
        "server.crt": ("0o644", 0, 0),
        "server.key": ("0o400", 1234, 0),
        "client.crt": ("0o644", 0, 0),
        "client.key": ("0o640", 0, 4321),
    }


def test_modes_hold_under_any_umask(tmp_path: Path) -> None:
    previous = os.umask(0o777)
    try:
        pki.init(tmp_path / "pki", owners=MINE)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "pki/client.key").stat().st_mode) == 0o640


def test_openssl_agrees(tmp_path: Path) -> None:
    pki.init(tmp_path, owners=MINE)
    for name, purpose in (("server", "sslserver"), ("client", "sslclient")):
        verify = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile"]
        done = subprocess.run(
            [*verify, tmp_path / "ca.crt", tmp_path / f"{name}.crt"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", tmp_path / "server.crt"],
        capture_output=True,
        text=True,
    ).stdout
    assert "DNS:bombshell.tambourine, DNS:localhost" in text
    assert "ASN1 OID: prime256v1" in text


def test_init_twice_makes_only_what_is_missing(tmp_path: Path) -> None:
    pki.init(tmp_path, owners=MINE)
    before = contents(tmp_path)
    assert pki.init(tmp_path, owners=MINE) == ()
    assert contents(tmp_path) == before
    (tmp_path / "client.crt").unlink()  # as an init leaves it that was interrupted after the key
    assert pki.init(tmp_path, owners=MINE) == ("client",)
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"client.crt", "client.key"}
    (tmp_path / "ca.key").rename(tmp_path / "elsewhere")
    assert pki.init(tmp_path, owners=MINE) == ()


def test_init_overwrites_nothing_without_force(tmp_path: Path) -> None:
    pki.init(tmp_path, owners=MINE)
    (tmp_path / "ca.crt").unlink()
    before = contents(tmp_path)
    with pytest.raises(errors.AlreadyExists, match=r"no ca\.crt"):
        pki.init(tmp_path, owners=MINE)
    assert contents(tmp_path) == before
    assert pki.init(tmp_path, owners=MINE, force=True) == ("ca", "server", "client")
    (tmp_path / "server.key").unlink()
    with pytest.raises(errors.AlreadyExists, match=r"without server\.key"):
        pki.init(tmp_path, owners=MINE)


def test_renew_replaces_expiring_certificates_and_keeps_keys(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    pki.init(tmp_path, owners=MINE, now=start)
    keys = {name: data for name, data in contents(tmp_path).items() if name.endswith(".key")}
    assert pki.renew(tmp_path, now=start + timedelta(days=600)) == ()
    later = start + timedelta(days=800)
    assert pki.renew(tmp_path, now=later) == ("server", "client")
    assert {name: data for name, data in contents(tmp_path).items() if name in keys} == keys
    assert all(not certificate.due(later) for certificate in pki.show(tmp_path))
    assert read_expirations([tmp_path / paths.EXPIRATIONS]) == {
        certificate.name: certificate.not_after.timestamp() for certificate in pki.show(tmp_path)
    }
    much_later = start + timedelta(days=19 * 365)
    assert pki.renew(tmp_path, now=much_later) == ("ca", "server", "client")


def test_renewed_authority_verifies_earlier_certificates(tmp_path: Path) -> None:
    pki.init(tmp_path, owners=MINE)
    old = (tmp_path / "server.crt").read_bytes()
    pki.renew(tmp_path, force=True)
    (tmp_path / "old.crt").write_bytes(old)
    verify = ["openssl", "verify", "-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "old.crt")]
    assert subprocess.run(verify, capture_output=True).returncode == 0


def test_nothing_to_renew_or_show_before_init(tmp_path: Path) -> None:
    for call in (lambda: pki.renew(tmp_path), lambda: pki.show(tmp_path)):
        with pytest.raises(errors.NotFound, match=r"ca\.crt does not exist"):
            call()


def test_a_broken_certificate_is_named(tmp_path: Path) -> None:
    pki.init(tmp_path, owners=MINE)
    (tmp_path / "client.crt").write_text("nonsense")
    with pytest.raises(errors.HostError, match=r"client\.crt is not a PEM certificate"):
        pki.show(tmp_path)


def tambourine(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tambourinefs.cli.main", "pki", *arguments],
        capture_output=True,
        text=True,
    )


def test_the_command_line(tmp_path: Path) -> None:
    where = ["--dir", str(tmp_path)]
    mine = ["--server-user", "", "--client-group", ""]
    assert "does not exist" in tambourine("show", *where).stderr
    assert tambourine("init", *where, *mine).stdout.count("created ") == 3
    assert "nothing to do" in tambourine("init", *where, *mine).stdout
    assert "nothing to do" in tambourine("renew", *where).stdout
    assert tambourine("renew", "--force", *where).stdout.count("renewed ") == 3
    assert "bombshell.tambourine localhost" in tambourine("show", *where).stdout
    shown = json.loads(tambourine("show", "--json", *where).stdout)
    assert [entry["name"] for entry in shown] == ["ca", "server", "client"]
    assert datetime.fromisoformat(shown[1]["notAfter"]) > datetime.now(UTC) + timedelta(days=365)
    done = tambourine("init", *where, "--server-user", "nobody-has-this-name")
    assert done.returncode == 2
    assert 'user "nobody-has-this-name" does not exist on this host' in done.stderr
