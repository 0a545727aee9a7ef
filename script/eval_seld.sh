#!/usr/bin/env bash
# Evaluate a checkpoint: csv files, raw output and a result file, beside the checkpoint.
#   bash script/eval_seld.sh                            the newest run, its last (or selected) checkpoint
#   bash script/eval_seld.sh foa CHECKPOINT [flags]     format foa, mic or bin, and a checkpoint; flags go to seld.py
# CHECKPOINT is taken from where you are; relative paths in flags are taken from the project folder.
set -euo pipefail
arguments=()
case "${1:-}" in
foa | mic | bin)
    case "${2:-}" in "" | -*)
        echo "error: eval_seld.sh $1 needs a checkpoint: bash script/eval_seld.sh $1 RUN/params_..._0020000.pth" >&2
        exit 2
        ;;
    esac
    case "$2" in /*) checkpoint="$2" ;; *) checkpoint="$PWD/$2" ;; esac
    arguments=(--format "$1" -em "$checkpoint")
    shift 2
    ;;
"" | -*) ;;
*)
    echo "error: eval_seld.sh: '$1' is none of foa, mic and bin; type: bash script/eval_seld.sh foa CHECKPOINT" >&2
    exit 2
    ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec python seld.py -eval ${arguments[@]+"${arguments[@]}"} "$@"
