#!/bin/sh
# Each room imports only from rooms above it, and the command line only the public header.
failed=0
broken=$(grep -oE '^#include "[a-z]+/' -r src --include='*.[ch]' | awk -F'[:"/]' '
    BEGIN { n = split("base platform memory tensor text graph backend model data report train", rooms, " ")
            for (i = 1; i <= n; i++) level[rooms[i]] = i }
    { from = $2; to = $(NF - 1)
      if (!(from in level) || !(to in level) || level[to] > level[from]) print $2 "/ imports " to "/: " $0 }')
if [ -z "$broken" ]; then echo "[       OK ] rooms_import_from_above"; else
    echo "$broken"; echo "[  FAILED  ] rooms_import_from_above"; failed=1; fi
if grep -n '^#include "' src/cli/*.c | grep -v '"levee.h"'; then
    echo "[  FAILED  ] command_line_uses_the_public_header"; failed=1
else echo "[       OK ] command_line_uses_the_public_header"; fi
exit $failed
