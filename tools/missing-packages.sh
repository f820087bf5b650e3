#!/bin/sh
# Succeeds when everything that the build needs is there; otherwise says what is missing.
for name in dnnl.h jansson.h yaml.h pcre2.h utf8proc.h xxhash.h microhttpd.h protobuf-c/protobuf-c.h cmocka.h; do
    case $name in
    pcre2.h) lines='#define PCRE2_CODE_UNIT_WIDTH 8' ;;
    cmocka.h) lines='#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>' ;;
    *) lines='' ;;
    esac
    printf '%s\n#include <%s>\n' "$lines" "$name" | ${CC:-cc} -E -x c - >/dev/null 2>&1 && continue
    echo "Missing: $name"
    exit 1
done
command -v protoc-c >/dev/null || { echo 'Missing: protoc-c'; exit 1; }
