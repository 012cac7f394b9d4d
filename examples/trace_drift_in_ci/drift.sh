#!/bin/sh
# What a CI job sees: a check that passes, and the same check after somebody edited the trace.
set -eu
cd "$(dirname "$0")"
llmos test trace-tests

edited=$(mktemp -d)
trap 'rm -rf "$edited"' EXIT
cp trace-tests/* "$edited"
sed -i 's/Rows: 3/Rows: 4/' "$edited"/*.trace.md
code=0
llmos test "$edited" || code=$?
echo "exit code $code"
test "$code" = 1
