"""The one build step that setup.cfg cannot say: Python modules and typed stubs from proto/.

They are written into the tree beside their package (and not committed), so that an editable install, a wheel
and mypy all read the same files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent.resolve()
PROTO = HERE / "proto"


def generate() -> None:
    """Run protoc over proto/, whose folders mirror the packages that the modules go to."""
    from importlib.resources import files

    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory(dir=HERE) as out:
        plugins = Path(sys.executable).parent
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTO}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                *[
                    f"--plugin=protoc-gen-{name}={plugins / f'protoc-gen-{name}'}"
                    for name in ("mypy", "mypy_grpc")
                    if (plugins / f"protoc-gen-{name}").exists()
                ],
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                *sources,
            ]
        )
        if status != 0:
            raise SystemExit(f"protoc failed with status {status} on {', '.join(sources)}")
        for made in Path(out).rglob("*_pb2*"):
            target = HERE / made.relative_to(out)
            if not target.exists() or target.read_bytes() != made.read_bytes():
                made.replace(target)  # atomic: parallel tox environments build side by side
                target.chmod(0o644)


class BuildPy(build_py):
    """`build_py` that makes the protobuf modules before it looks for modules."""

    def run(self) -> None:
        generate()
        super().run()


setup(cmdclass={"build_py": BuildPy})
