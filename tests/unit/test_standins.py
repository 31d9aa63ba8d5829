"""Modules that libraries load for one thing: it is there without them, and any other loads them."""

from __future__ import annotations

import subprocess
import sys

RUN = "import sys\nfrom tambourinefs.standins import stand_in\nstand_in()\n"


def output(code: str) -> list[str]:
    """The lines that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", RUN + code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_trio_and_pyfuse3_are_whole_without_what_they_asked_for() -> None:
    code = """
import threading, trio, pyfuse3
def comm():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm") as file:
        print(file.read(), end="")
trio.run(trio.to_thread.run_sync, comm)
print(pyfuse3.__version__)
print([m for m in ("email", "zipfile", "bz2") if m in sys.modules])
"""
    thread, version, loaded = output(code)
    assert thread.startswith("comm from")  # trio names its threads by what they do
    assert version == "unknown"
    assert loaded == "[]"


def test_whatever_else_is_asked_has_its_answer_from_the_module_itself() -> None:
    code = """
from importlib.metadata import PackageNotFoundError, version
import importlib.metadata
import ctypes.util
print(version("trio") == importlib.metadata.distribution("trio").version)
print(type(sys.modules["importlib.metadata"]).__name__, importlib.metadata is sys.modules["importlib.metadata"])
try:
    version("no-such-package")
except PackageNotFoundError as error:
    print(error.args, error.__cause__.__class__.__module__)
print(ctypes.util.find_library("pthread"), ctypes.util.find_library("c"))
try:
    importlib.metadata.no_such_name
except AttributeError as error:
    print(error)
"""
    assert output(code) == [
        "True",
        "module True",
        "('no-such-package',) importlib.metadata",
        "libc.so.6 libc.so.6",
        "module 'importlib.metadata' has no attribute 'no_such_name'",
    ]


def test_an_import_of_the_stand_in_again_loads_nothing() -> None:
    code = """
import importlib.metadata
from importlib.metadata import version
import ctypes.util
stand_in()
print("email" in sys.modules, "subprocess" in sys.modules)
print(sum(getattr(found, "__module__", "") == "tambourinefs.standins" for found in sys.meta_path))
"""
    assert output(code) == ["False False", "1"]


def test_the_kubernetes_client_has_oauth_when_it_comes_to_that() -> None:
    code = """
from tambourinefs import deferred
deferred.defer()
from kubernetes.config import kube_config
print("requests" in sys.modules)
session = kube_config.OAuth2Session(client_id="me", token=None)
print(type(session).__module__, session.client_id, "requests" in sys.modules)
print(kube_config.oauthlib.oauth2.rfc6749.errors.InvalidClientIdError.__name__)
"""
    assert output(code) == [
        "False",
        "requests_oauthlib.oauth2_session me True",
        "InvalidClientIdError",
    ]
