#!/usr/bin/env bash
# The general network, mixed and matched: every module trained once, every pair aligned, and what little joint data give;
# prints the tables of docs/general_network.md. Called again after an interruption it goes on.
#   bash script/general/run_all.sh                                TAU-NIGENS 2020 in data_nigens2020, else a small simulated set
#   bash script/general/run_all.sh --data-root DIR [--mono-root DIR] [flags of bench/general_results.py]
# Relative paths in flags are taken from the project folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
NIGENS2020_ROOT=data_nigens2020
SIMULATED_ROOT=data_nigens2020_simulated
MONO_ROOT=data_mono_simulated

has_root="" has_mono="" small=()
for argument in "$@"; do
    case "$argument" in
    -h | --help) exec python -m bench.general_results --help ;;
    --data-root | --data-root=*) has_root=yes ;;
    --mono-root | --mono-root=*) has_mono=yes ;;
    esac
done
roots=()
if [ -z "$has_root" ] && [ -d "$NIGENS2020_ROOT" ]; then
    roots+=(--data-root "$NIGENS2020_ROOT")
elif [ -z "$has_root" ]; then
    echo "No TAU-NIGENS 2020 here ($NIGENS2020_ROOT is missing): using a small simulated set in $SIMULATED_ROOT." >&2
    echo "Its scores say that the system works, not how well it does on real recordings." >&2
    python -m simulation --layout nigens2020 --train 10 --test 0 --seconds 20 --out "$SIMULATED_ROOT" >&2
    roots+=(--data-root "$SIMULATED_ROOT")
    # what a few minutes of sound and two processor cores allow: small modules, short trainings, nothing mixed or cut
    small=(-b 8 --align-batch 32 -l 0.003 --width 0.125 --module-iter 150 --align-iter 300 --joint-iter 350)
    small+=(--set mixup=false --set cutout=false --set chunk_frames=160 --set align_units=48)
    # a quarter as wide, of the mended form; with the published weight of the vectors, 1000, it learns no detection so soon
    small+=(--joint-set filters=[16,16,16] --joint-set rnn_units=[64,64] --joint-set dense=[64] --joint-set sequence_frames=150)
    small+=(--joint-set layout=paper --joint-set mask=classwise --joint-set loss_weights=[1.0,50.0])
fi
if [ -z "$has_mono" ]; then
    python -m simulation --layout mono --classes nigens2020 --train 80 --test 20 --seconds 10 --out "$MONO_ROOT" >&2
    roots+=(--mono-root "$MONO_ROOT")
fi
exec python -m bench.general_results ${roots[@]+"${roots[@]}"} ${small[@]+"${small[@]}"} "$@"
