#!/bin/sh
# Each room imports only from rooms above it, and the command line only the public header.
failed=0
broken=$(grep -oE '^#include "[a-z]+/' -r src --include='*.[ch]' | awk -F'[:"/]' '
    BEGIN { n = split("base platform memory guard tensor text graph backend model data report monitor web watch doctor train cli", rooms, " ")
            for (i = 1; i <= n; i++) level[rooms[i]] = i }
    { from = $2; to = $(NF - 1)
      if (!(from in level) || !(to in level) || level[to] > level[from]) print $2 "/ imports " to "/: " $0 }')
if [ -z "$broken" ]; then echo "[       OK ] rooms_import_from_above"; else
    echo "$broken"; echo "[  FAILED  ] rooms_import_from_above"; failed=1; fi
if grep -n '^#include "' src/cli/*.[ch] | grep -vE '"(levee.h|cli/[a-z]+.h)"'; then
    echo "[  FAILED  ] command_line_uses_the_public_header"; failed=1
else echo "[       OK ] command_line_uses_the_public_header"; fi
# One place for calls on files, one for the heap, one for addresses: where faults can be put in (base/fault.h).
calls='open|openat|creat|read|pread|write|pwrite|fsync|fdatasync|rename|ftruncate|truncate|mkdir|mkdtemp|mkstemp|unlink|unlinkat|remove
    |rmdir|stat|lstat|fstat|access|statvfs|statfs|fopen|fdopen|opendir|readdir|flock|lseek'
heap='malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|asprintf'
stray=$(
    outside() { grep -rnE "(^|[^A-Za-z0-9_.>*])($(echo "$1" | tr -d ' \n'))\(" src --include='*.c' --include='*.h' | grep -vE "^$2"; }
    outside "$calls" 'src/(base/call\.[ch]|cli/(main|top)\.c):'
    outside "$heap" 'src/memory/ledger\.c:'
    outside 'mmap|mprotect|brk|sbrk' 'src/(base/call|memory/region)\.c:'
)
if [ -z "$stray" ]; then echo "[       OK ] calls_are_made_in_one_place"; else
    echo "$stray"; echo "[  FAILED  ] calls_are_made_in_one_place"; failed=1; fi
exit $failed
