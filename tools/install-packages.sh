#!/bin/sh
# Installs the given Debian packages, as root or through sudo.
set -e
command -v apt-get >/dev/null || { echo "No apt-get here: install the counterparts of: $*" >&2; exit 1; }
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
