#!/usr/bin/env bash
# Evaluate a run of two-stage SELD: csv files, raw output and a result file, beside its checkpoint.
#   bash script/two_stage/3_evaluation.sh                        the newest run
#   bash script/two_stage/3_evaluation.sh RUN [flags]            a run folder, or a checkpoint; flags go to seld.py
#   bash script/two_stage/3_evaluation.sh RUN --activity reference    directions alone, with the activity of the labels
# RUN is taken from where you are; relative paths in flags are taken from the project folder.
set -euo pipefail
arguments=()
case "${1:-}" in
"" | -*) ;;
/*)
    arguments=(-em "$1")
    shift
    ;;
*)
    arguments=(-em "$PWD/$1")
    shift
    ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
source script/two_stage/0_directories.sh
if [ ${#arguments[@]} -eq 0 ]; then # runs lie in the folders of the data that they were trained on
    for root in "$TAU2019_ROOT" "$SIMULATED_ROOT"; do
        case " $* " in *" -em "* | *" -m "* | *" --data-root"*) break ;; esac
        if [ -d "$root/model_monitor" ]; then
            arguments=(--data-root "$root")
            break
        fi
    done
fi
exec python seld.py -eval ${arguments[@]+"${arguments[@]}"} "$@"
