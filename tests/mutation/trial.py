"""Runs some tests against the checkout with one module changed: in a fork of a process that has the libraries loaded.

Nothing is written into the checkout; the module is changed when it is imported. Servers are started once for each slot.
"""

import ast
import gc
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

_LIBRARIES = (
    "pytest", "pymongo", "redis", "flask", "pydantic", "pydantic_settings", "structlog", "kombu", "qdrant_client",
    "qdrant_edge", "numpy", "obstore", "aiohttp", "tenacity", "orjson", "cryptography.fernet", "celery", "freezegun",
    "psutil", "prometheus_client", "tokenizers",
)  # fmt: skip
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:anyio", "-p", "no:hypothesispytest")
_LONGEST_SECONDS = 120.0
_PATIENCE_SECONDS = 0.02


def load_libraries() -> None:
    """Import what is not ours, so that a trial need not."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    # no trial's garbage collection looks through them
    gc.freeze()


class Slot:
    """A place for one trial at a time, with servers of its own."""

    def __init__(self, root: Path) -> None:
        from tests.servers import memory_directory, mongo_server, redis_server

        self._root = root
        self._servers = ExitStack()
        self._directory = self._servers.enter_context(memory_directory())
        # what one trial has compiled, the next one finds
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(self._directory / "bytecode")
        for name in ("mongo", "redis"):
            (self._directory / name).mkdir()
        self._mongo = self._servers.enter_context(mongo_server(self._directory / "mongo"))
        self._redis = self._servers.enter_context(redis_server(self._directory / "redis"))

    def close(self) -> None:
        """Stop the servers."""
        self._servers.close()

    def run(self, path: str, module: ast.Module | None, tests: Sequence[str]) -> tuple[int, str]:
        """pytest's exit code and output, with the module at `path` replaced."""
        output = self._directory / "output"
        child = os.fork()
        if child == 0:
            self._become_pytest(path, module, tests, output)
        return _wait(child), output.read_text(errors="replace")

    def _become_pytest(self, path: str, module: ast.Module | None, tests: Sequence[str], output: Path) -> None:
        code = 70
        try:
            os.setsid()
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.environ["TMPDIR"] = str(self._directory)
            tempfile.tempdir = None
            self._lend_servers()
            if module is not None:
                sys.meta_path.insert(0, _Changed(path, module, self._root))
            import pytest

            code = int(pytest.main([*_PYTEST, *tests]))
        finally:
            # no destructor of the parent's runs here
            os._exit(code)

    def _lend_servers(self) -> None:
        import tests.servers as servers
        from cli.stack.engine import Engine

        own_mongo, own_redis = servers.mongo_server, servers.redis_server

        @contextmanager
        def lent_mongo(
            directory: Path,
            port: int | None = None,
            more_options: Sequence[str] = (),
            engine: Engine | None = None,
            **client_options: Any,
        ) -> Iterator[servers.Server]:
            if port is None and not more_options and engine is None:
                yield self._mongo
                return
            with own_mongo(directory, port, more_options, engine, **client_options) as server:
                yield server

        @contextmanager
        def lent_redis(
            directory: Path, port: int | None = None, more_options: Sequence[str] = ()
        ) -> Iterator[servers.Server]:
            if port is None and not more_options:
                yield self._redis
                return
            # this one is for the test to stop
            with own_redis(directory, port, more_options) as server:
                yield server

        servers.mongo_server, servers.redis_server = lent_mongo, lent_redis


class _Changed(MetaPathFinder, Loader):
    """Gives one module another code."""

    def __init__(self, path: str, module: ast.Module, root: Path) -> None:
        self._name = path.removesuffix(".py").replace("/", ".")
        self._file = str(root / path)
        self._module = module

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """This module, or none."""
        return spec_from_loader(name, self, origin=self._file) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        module.__file__ = self._file
        exec(compile(self._module, self._file, "exec"), module.__dict__)  # noqa: S102 - our own code, changed


def _wait(child: int) -> int:
    """The child's exit code; a code of our own when it took too long. Ends what it started."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    code: int | None = None
    while code is None and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(_PATIENCE_SECONDS)
    with suppress(ProcessLookupError):
        # a session of the child's own: nobody else is in it
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
        return -1
    return code
