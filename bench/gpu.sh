#!/usr/bin/env bash
# Everything to measure once where a GPU can be reached, in at most six minutes:
#
#     bash bench/gpu.sh                    # writes bench_gpu/<date>.txt
#     DEVICE=cpu TINY=1 bash bench/gpu.sh  # the same on a CPU with tiny sizes: does it run? (LIMIT=900 where it is busy)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
DEVICE="${DEVICE:-cuda}" OUT="${OUT:-bench_gpu}"
mkdir -p "$OUT"
report="$OUT/$(date +%Y%m%d_%H%M%S).txt"
options=(--device "$DEVICE")
[ -n "${TINY:-}" ] && options+=(--tiny)
{
    git log -1 --format='commit %h %s' 2>/dev/null || true
    timeout "${LIMIT:-350}" python bench/gpu.py "${options[@]}"
} 2>&1 | tee "$report"
echo "written to $report"
