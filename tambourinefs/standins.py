"""Stand-ins for modules of which libraries need one small thing, or one thing that nobody here comes to.

pyfuse3 asks importlib.metadata for its own version, which nobody reads, and that brings the packages email, csv and
zipfile; trio asks ctypes.util where the library of threads lies, which starts ldconfig(8) and brings three modules of
compression. Together they were a tenth of the memory of silo and agent, and of what their start costs. A stand-in answers
that question. The kubernetes client takes OAuth2Session from requests_oauthlib, for who renews a token of OpenID Connect.
Whatever else a stand-in is asked for, it has from the module itself, which it loads and makes way for.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from tambourinefs import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader

_THREADS: Final = "libc.so.6"  # glibc has them since 2.34
_UNNAMED: Final = "pyfuse3"  # goes without a version: "unknown"


def _ctypes_util() -> dict[str, object]:
    def find_library(name: str) -> str | None:
        """As ctypes.util.find_library."""
        if name == "pthread" and sys.platform == "linux":
            return _THREADS
        return cast("str | None", _whole("ctypes.util").find_library(name))

    return {"find_library": find_library}


def _importlib_metadata() -> dict[str, object]:
    class PackageNotFoundError(ModuleNotFoundError):
        """As importlib.metadata.PackageNotFoundError, and the class of whoever asked here."""

    def version(name: str) -> str:
        """As importlib.metadata.version."""
        if name == _UNNAMED:
            raise PackageNotFoundError(name)
        whole = _whole("importlib.metadata")
        try:
            return str(whole.version(name))
        except whole.PackageNotFoundError as error:
            raise PackageNotFoundError(name) from error

    return {"PackageNotFoundError": PackageNotFoundError, "version": version}


def _requests_oauthlib() -> dict[str, object]:
    def OAuth2Session(*args: Any, **kwargs: Any) -> Any:  # noqa: N802 (the class of that name)
        """As requests_oauthlib.OAuth2Session."""
        return _whole("requests_oauthlib").OAuth2Session(*args, **kwargs)

    return {"OAuth2Session": OAuth2Session}


_ANSWERS: Final[dict[str, Callable[[], dict[str, object]]]] = {
    "ctypes.util": _ctypes_util,
    "importlib.metadata": _importlib_metadata,
    "requests_oauthlib": _requests_oauthlib,
}
_loaded: Final[set[str]] = set()  # modules that had to come themselves


def stand_in() -> None:
    """From here on an import of one of them finds a stand-in. A second call changes nothing."""
    deferred.find_first(_Finder)


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _ANSWERS or name in _loaded:
            return None
        return deferred.spec_of(name, path, target, _StandInLoader)


class _StandInLoader:
    def __init__(self, own: Loader) -> None:
        """`own` is left to who loads the module itself (`_whole`)."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_ANSWERS[module.__name__]())


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)
        return getattr(_whole(self.__name__), name)


def _whole(name: str) -> Any:
    """The module itself, in the stand-in's place for all who import it from now on."""
    _loaded.add(name)
    if isinstance(sys.modules.get(name), _StandIn):
        del sys.modules[name]
    return importlib.import_module(name)
