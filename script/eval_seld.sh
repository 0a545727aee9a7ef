#!/usr/bin/env bash
# Evaluate a checkpoint: csv files, raw output and a result file, beside the checkpoint.
#   bash script/eval_seld.sh                            the newest run, its last (or selected) checkpoint
#   bash script/eval_seld.sh foa CHECKPOINT [flags]     format foa, mic or bin, and a checkpoint; flags go to seld.py
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
case "${1:-}" in
foa | mic | bin)
    if [ $# -lt 2 ]; then
        echo "error: eval_seld.sh $1 needs a checkpoint: bash script/eval_seld.sh $1 RUN/params_..._0020000.pth" >&2
        exit 2
    fi
    format="$1" checkpoint="$2"
    shift 2
    exec python seld.py -eval --format "$format" -em "$checkpoint" "$@"
    ;;
*) exec python seld.py -eval "$@" ;;
esac
