#!/usr/bin/env bash
# Make pretrained/foa.pth: scenes of recorded sounds, training, thresholds, weights.
# Usage: bash script/pretrain_foa.sh SOUND_BANK [FOLDER]   SOUND_BANK: class folders and sources.csv, see docs/system.md
# Where it was interrupted: call it again, scenes that are there stay; a training goes on with seld.py -train --resume RUN.
set -euo pipefail
if [ $# -lt 1 ]; then sed -n 2,4p "$0"; exit 2; fi
bank="$(cd "$1" && pwd)"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="${2:-data_pretraining}"
if [ ! -e "$out/bank" ]; then
    python -m simulation.split_bank "$bank" --out "$out/bank" --free --speeds 0.92,1,1.09
fi
python -m simulation --out "$out/train" --train 160 --test 0 --train-rooms 40 --rt60 0.15 0.9 --noise 8 35 \
    --room-size 3 10 --distance 0.7 4 --no-video --formats foa --sound-bank "$out/bank/train" --seed 21
python seld.py -train --system avseld --data-root "$out/train" --format foa --detector yolox_nano -i 1450 -s 200
run="$(ls -d "$out"/train/model_monitor/2* | tail -n 1)"
python -m job.ship "$run" --tune-on "$out/train" --out pretrained/foa.pth
cp "$out/bank/credits.md" pretrained/credits.md
