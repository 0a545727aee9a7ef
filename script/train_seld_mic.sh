#!/usr/bin/env bash
# Train and validate the audio-visual CRNN on the tetrahedral microphone array and 360-degree video.
# On STARSS23 in data_dcase2023_task3, or on synthetic scenes that are made on first use.
# Extra flags go to seld.py: bash script/train_seld_mic.sh -i 50000 --no-video
# Relative paths in flags are taken from the project folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source script/data.sh
choose_data mic_dev "$@"
exec python seld.py -train -val --format mic ${data_flags[@]+"${data_flags[@]}"} "$@"
