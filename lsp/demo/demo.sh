#!/usr/bin/env bash
# The whole of ingle in one go, in a home of its own (.demo): `make demo` installs, then runs this.
set -euo pipefail
cd "$(dirname "$0")/../.."
export INGLE_HOME="$PWD/.demo"
export PATH="$PWD/.venv/bin:$PATH"
model=smollm2-135m

say() { printf '\n==> %s\n' "$*"; }
finish() { ingle down >/dev/null 2>&1 || true; }
trap finish EXIT

say "pulling the demo model, $model (98 MB, once)"
ingle pull "$model"

say "starting the daemon and loading the model"
ingle up

say "ingle status"
ingle status

say "completing a line of lsp/demo/fibonacci.py through the language server"
python lsp/demo/complete.py lsp/demo/fibonacci.py

say "ingle ask 'Why is the sky blue? Answer in one sentence.'"
ingle ask --max-tokens 60 --temperature 0 "Why is the sky blue? Answer in one sentence."

say "stopping the daemon"
ingle down
say "done: everything above came from this machine; the model stays in .demo"
