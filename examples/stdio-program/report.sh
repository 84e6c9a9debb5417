#!/bin/sh
# Reads a list of amounts, one a line, and answers with their count and their sum as JSON.
set -eu
echo "task $PILUM_TASK_ID, attempt $PILUM_ATTEMPT" >&2
awk '
  !/^-?[0-9]+$/ { print "not a number: " $0 > "/dev/stderr"; bad = 1; exit 3 }
  { sum += $0 }
  END { if (!bad) printf "{\"count\":%d,\"sum\":%d}", NR, sum }
'
