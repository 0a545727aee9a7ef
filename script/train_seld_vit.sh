#!/usr/bin/env bash
# Train and validate the audio-visual time-token ViT: bash script/train_seld_vit.sh [foa|bin] [flags of seld.py]
# On STARSS23 in data_dcase2023_task3, or on synthetic scenes that are made on first use.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source script/data.sh
format=foa
case "${1:-}" in foa | bin)
    format="$1"
    shift
    ;;
esac
case "$format" in foa) folder=foa_dev ;; bin) folder=binaural_dev ;; esac
choose_data "$folder" "$@"
exec python seld.py -train -val -n vit --format "$format" "${data_flags[@]}" "$@"
