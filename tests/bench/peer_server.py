"""llama.cpp's own HTTP server in a process of its own: what the peers of the benchmark talk to.

`python peer_server.py MODEL FOLDER SLOTS CONTEXT THREADS CACHE_MB`: listens on a unix socket in
FOLDER, which must be private; prints one line with its address when the model is loaded, and serves
until its standard input ends.

It is configured as ingle's worker configures the engine (threads, batch, caches: what measured best
on a CPU), so that a comparison is one of policies. Two things differ, as llama.vim's documentation
starts the server: `--cache-reuse 256`, and there is no API key.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ingled.engines.engine import ModelSpec
from ingled.engines.llamacpp import _params

#: llama.vim's documentation: a good value for all cases.
CACHE_REUSE = 256


def main() -> None:
    """Load, say so, serve."""
    model, folder, slots, context, threads, cache_mb = sys.argv[1:]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.umask(0o077)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import xllamacpp

    spec = ModelSpec(
        name="peer",
        path=Path(model),
        context=int(context),
        slots=int(slots),
        threads=int(threads),
        gpu_layers=-1,
        cache_mb=int(cache_mb),
    )
    params = _params(xllamacpp, spec, on_gpu=False, windows=False)
    params.n_cache_reuse = CACHE_REUSE
    params.hostnames = [str(Path(folder) / "peer.sock")]
    server = xllamacpp.Server(params)
    print(server.listening_address, file=answers)
    sys.stdin.read()
    # Destroying the server may hang.
    os._exit(0)


if __name__ == "__main__":
    main()
