#!/bin/sh
# Installs what the tests of the Emacs package need: Emacs (28.2 in Debian 12), Eglot where it is
# not built in, package-lint, and tmux for what is drawn. Leaves alone what is there already.
set -eu

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
apt_get() { $as_root apt-get -o DPkg::Lock::Timeout=600 -qq "$@"; }

wanted=
command -v emacs >/dev/null || wanted="emacs-nox"
command -v tmux >/dev/null || wanted="$wanted tmux"
for package in elpa-eglot elpa-package-lint fonts-dejavu-core; do
    dpkg -s "$package" >/dev/null 2>&1 || wanted="$wanted $package"
done
if [ -n "$wanted" ]; then
    apt_get update
    # shellcheck disable=SC2086 # words, not one
    apt_get install --yes --no-install-recommends $wanted
fi

emacs --version | head -n 1
