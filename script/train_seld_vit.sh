#!/usr/bin/env bash
# Train and validate the audio-visual time-token ViT: bash script/train_seld_vit.sh [foa|bin] [flags of seld.py]
# On STARSS23 in data_dcase2023_task3, or on synthetic scenes that are made on first use.
# Relative paths in flags are taken from the project folder.
set -euo pipefail
format=foa folder=foa_dev
case "${1:-}" in
foa) shift ;;
bin)
    format=bin folder=binaural_dev
    shift
    ;;
"" | -*) ;;
*)
    echo "error: train_seld_vit.sh: '$1' is neither foa nor bin (nor a flag of seld.py)" >&2
    exit 2
    ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source script/data.sh
choose_data "$folder" "$@"
exec python seld.py -train -val -n vit --format "$format" ${data_flags[@]+"${data_flags[@]}"} "$@"
