#!/bin/sh
# Installs what the Vim plugin is tested with: Debian's Vim 9.0 and tmux, by apt. Leaves alone what is
# there already.
set -eu

can_be_tested() {
    command -v "$1" >/dev/null &&
        "$1" -u NONE -i NONE -N -es \
            -c "if has('patch-9.0.1378') && has('job') && has('textprop') | quit | else | cquit | endif" \
            </dev/null >/dev/null 2>&1
}

missing=
can_be_tested vim.nox || can_be_tested vim || missing=vim-nox
command -v tmux >/dev/null || missing="$missing tmux"
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get -o DPkg::Lock::Timeout=300 -qq update
    # shellcheck disable=SC2086
    $as_root apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends \
        $missing fonts-dejavu-core
fi

if can_be_tested vim.nox; then vim.nox --version | head -n 1; else vim --version | head -n 1; fi
tmux -V
