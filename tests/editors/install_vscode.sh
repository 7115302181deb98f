#!/bin/sh
# Installs what the tests of the VS Code extension need: Chromium and ripgrep from the system's
# packages; code-server from npm, in .editors/vscode; and the extension itself, built and packed
# from this checkout. Run again, it does only what is missing.
#
# code-server's own install script downloads from outside of the registry, so its parts are
# installed one by one, without scripts, and only the native modules that it can't do without are
# compiled.
set -eu

VERSION=4.100.3 # VS Code 1.100
root=$(cd "$(dirname "$0")/../.." && pwd)
target=$root/.editors/vscode
plugin=$root/editor-plugins/vscode
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo

say() { echo "==> $*"; }

need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null && return
  say "installing $2"
  $as_root apt-get update -qq || true
  $as_root apt-get -o DPkg::Lock::Timeout=600 install -qq -y --no-install-recommends "$2" >/dev/null
}

need node nodejs
need npm npm
need make make
need g++ g++
need chromium chromium
need rg ripgrep

# Native modules are compiled against the headers of the Node that is here, where it has any.
headers=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
if [ -e "$headers/include/node/node.h" ]; then
  export npm_config_nodedir="$headers"
fi
npm_quietly() { npm "$@" --no-audit --no-fund --loglevel=error >/dev/null; }

server=$target/node_modules/code-server
if [ "$(cat "$target/installed" 2>/dev/null || true)" != "$VERSION" ]; then
  say "installing code-server $VERSION (about two minutes)"
  rm -rf "$target"
  mkdir -p "$target"
  cd "$target"
  echo '{ "private": true }' > package.json
  npm_quietly install "code-server@$VERSION" --ignore-scripts
  for part in "$server/lib/vscode" "$server/lib/vscode/extensions"; do
    cd "$part"
    npm_quietly install --omit=dev --ignore-scripts --legacy-peer-deps
  done
  cd "$server/lib/vscode"
  npm_quietly rebuild @vscode/spdlog native-watchdog
  # Its script would download ripgrep; the system has one.
  mkdir -p node_modules/@vscode/ripgrep/bin
  ln -sf "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
  ln -sfn node_modules node_modules.asar
  cd "$target"
  npm_quietly rebuild argon2
  echo "$VERSION" > "$target/installed"
fi

say "building the extension"
cd "$plugin"
npm_quietly ci
npm_quietly run package
say "done: $(cd "$target" && node "$server/out/node/entry.js" --version | head -n 1)"
