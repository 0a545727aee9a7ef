#!/usr/bin/env bash
# Train two-stage SELD, both stages one after the other, and score it.
#   bash script/two_stage/2_train.sh                           Ambisonics, split 1
#   bash script/two_stage/2_train.sh TASK [JOB] [flags]        a task of system/presets.toml: 1 microphone array, 2 Ambisonics,
#                                                              3 and 4 the same with VGG9, 5 log-mel and intensity
#   bash script/two_stage/2_train.sh 1 a --split all           all four splits, scores pooled
#   bash script/two_stage/2_train.sh --system two_stage_scratch, or two_stage_joint: what it is compared with
# On TAU 2019 in data_tau2019; on a small simulated set, with a small network, where that is missing.
# Relative paths in flags are taken from the project folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
source script/data.sh
source script/two_stage/0_directories.sh
ids=()
while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
    ids+=("$1")
    shift
done
job=(-train -val --system two_stage)
choose_tau2019 "${job[@]}" ${ids[@]+"${ids[@]}"} "$@"
small=()
if [ -n "$simulated" ]; then small=(--epochs 8 -b 16 --set filters=16,32,64,128 --set rnn_units=64); fi
exec python seld.py "${job[@]}" ${ids[@]+"${ids[@]}"} ${data_flags[@]+"${data_flags[@]}"} ${small[@]+"${small[@]}"} "$@"
