#!/bin/sh
# The alert rules in contrib/, by promtool, where that is installed: they can be read, fire on their causes, and are silent on a
# healthy run. tests/test_contrib.c has what needs no promtool.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. tests/checks.sh
if ! command -v promtool >/dev/null; then
    skip alerts_fire_on_their_causes "promtool is not installed (Debian: prometheus)"
    exit 0
fi
cp contrib/prometheus/alerts.yml tests/data/alerts_test.yml "$work"
if ! (cd "$work" && promtool test rules alerts_test.yml >out 2>&1); then cat "$work/out"; fi
check alerts_fire_on_their_causes grep -q SUCCESS "$work/out"
exit $failed
