#!/bin/sh
# All benchmarks, one after the other; about ten minutes. Real-time priority needs root.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
$CARGO build --release -p fieldbeat -p fieldbeat-peers
$CARGO bench --no-run --bench floor --bench plan --bench journal --bench mqtt --bench gateway --bench wake --bench send --bench serial --bench write --bench can --bench canopen
echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, $(uname -sr)"
for bench in floor plan journal mqtt gateway wake send serial write can canopen; do
    echo
    echo "## $bench"
    $CARGO bench --quiet --bench "$bench"
done
