"""Modules that are imported for what most of our programs never do: each runs when something of it is asked for.

grpc brings asyncio and its own copy of itself for it, protobuf its second implementation in Python: a third of the
processor time of `tambourine get`, and some megabytes in each daemon. Nothing changes for who does use one of them: the
first look at an attribute runs it.

This is importlib.util.LazyLoader without two of its faults: the Python of Debian 12 lets a second thread see a module
that is half done (gh-114763), and the second `import` of a module runs it, since that looks at `__spec__`.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader

# Only what costs something, and is imported whole (`from X import Y` is a look at Y). For whom it is not run:
DEFERRED: Final = frozenset(
    {
        "asyncio",  # grpc, for grpc.aio
        "base64",  # model
        "concurrent.futures",  # grpc, for futures that nobody asks for
        "difflib",  # model, for words that are spelt wrong
        "google.protobuf.internal.python_message",  # protobuf: its messages are made in C
        "google.protobuf.text_format",  # protobuf
        "grpc.aio",  # grpc
        "grpc.experimental.aio",  # grpc_reflection: it looks into grpc.aio, as the next three do
        "grpc_health.v1._async",  # grpc_health
        "grpc_reflection.v1alpha._async",  # grpc_reflection
        "grpc_status._async",  # grpc_status
        "hashlib",  # rpc, for uploads; random
        "idna",  # trio, for names of hosts in foreign scripts
        "ipaddress",  # urllib.parse, pathlib
        "kubernetes.dynamic",  # kubernetes, of which we use credentials and connections
        "kubernetes.informer",  # kubernetes
        "kubernetes.leaderelection",  # kubernetes
        "kubernetes.stream",  # kubernetes
        "kubernetes.watch",  # kubernetes
        "linecache",  # inspect and traceback, for lines of source
        "msgspec.inspect",  # msgspec
        "msgspec.toml",  # msgspec
        "msgspec.yaml",  # msgspec
        "oauthlib.oauth2",  # kubernetes, for what OpenID Connect refuses
        "pickle",  # protobuf
        "pkgutil",  # grpc, for certificate authorities of the world
        "socket",  # rpc, for a Bombshell that does not answer
        "ssl",  # asyncio, trio
        "subprocess",  # grpc
        "tempfile",  # mounts, for a mount that was there before
        "tokenize",  # inspect
        "traceback",  # logging
    }
)
# What may be asked of a module without running it: the import system does so, and who asks for its type.
_KNOWN: Final = frozenset({"__class__", "__name__", "__spec__"})


def defer() -> None:
    """From here on, whatever DEFERRED names is run at its first use. A second call changes nothing."""
    find_first(_Finder)


def find_first(finder: object) -> None:
    """Let a finder be asked before all others, once."""
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, cast("Any", finder))


def spec_of(
    name: str,
    path: Sequence[str] | None,
    target: ModuleType | None,
    loading: Callable[[Loader], object],
) -> ModuleSpec | None:
    """The spec of a module on disk, to be loaded by what `loading` makes of its own loader; None where there is none."""
    spec = PathFinder.find_spec(name, path, target)
    if spec is not None and spec.loader is not None:
        spec.loader = cast("Loader", loading(spec.loader))
    return spec


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_of(name, path, target, _Later) if name in DEFERRED else None


class _Later:
    """Stands for a module's own loader until the module is run."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.lock = threading.RLock()
        self.running = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__later__"] = self
        module.__class__ = _Deferred


class _Deferred(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            _run(self)
        return ModuleType.__getattribute__(self, name)  # it may be of that class now, so no super()


def _run(module: _Deferred) -> None:
    """Returns when the module has run; at once where the caller is the module itself, or what it imports."""
    own = object.__getattribute__(module, "__dict__")
    later = own.get("__later__")
    if later is None:  # another thread was faster
        return
    with later.lock:
        if later.running or "__later__" not in own:
            return
        later.running = True
        try:
            own["__loader__"] = own["__spec__"].loader = later.loader
            later.loader.exec_module(module)
        finally:
            later.running = False
        del own["__later__"]
        object.__setattr__(module, "__class__", ModuleType)
