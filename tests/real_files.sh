#!/bin/sh
# Reads all DBC, EDS and DCF files below folders of your own, and compares names, types, texts and values with cantools,
# lists of objects with canopen. What was left out of each file is said.
#
#     sh tests/real_files.sh FOLDER…
set -eu
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folders=
for folder; do
	folders=${folders:+$folders:}$(cd "$folder" && pwd)
done
cd "$(dirname "$0")/.."
FIELDBEAT_GUEST=off sh tests/setup.sh
FIELDBEAT_REAL_FILES=$folders cargo test --test can real_ -- --nocapture --test-threads 1
