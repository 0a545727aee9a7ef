#!/usr/bin/env bash
# Make pretrained/foa.pth and pretrained/mic.pth: scenes of recorded sounds, training, thresholds, weights.
# Usage: bash script/pretrain.sh SOUND_BANK [FOLDER]   SOUND_BANK: class folders and sources.csv, see docs/system.md
# Where it was interrupted: call it again; scenes that are there stay, a training goes on from its last checkpoint.
set -euo pipefail
if [ $# -lt 1 ]; then sed -n 2,4p "$0"; exit 2; fi
bank="$(cd "$1" && pwd)"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="${2:-data_pretraining}"
rooms=(--test 0 --rt60 0.15 0.9 --noise 8 35 --room-size 3 10 --distance 0.7 4 --no-video)

# train NAME ITERATIONS FLAGS...: trains, or goes on; sets run
train() {
    local monitor="$out/runs/$1" iterations="$2"
    shift 2
    run="$(ls -d "$monitor"/2* 2>/dev/null | tail -n 1 || true)"
    if [ -z "$run" ]; then
        python seld.py -train --system avseld --detector yolox_nano -i "$iterations" -s 500 -m "$monitor" \
            --set things=false "$@"
        run="$(ls -d "$monitor"/2* | tail -n 1)"
    elif [ ! -e "$run/params_$(basename "$run")_$(printf '%07d' "$iterations").pth" ]; then
        python seld.py -train --resume "$run"
    fi
}

if [ ! -e "$out/bank" ]; then
    python -m simulation.split_bank "$bank" --out "$out/bank" --free --speeds 0.92,1,1.09
fi
python -m simulation --out "$out/recorded" --train 400 --train-rooms 80 "${rooms[@]}" --formats foa \
    --sound-bank "$out/bank/train" --seed 21
python -m simulation --out "$out/made" --train 100 --train-rooms 25 "${rooms[@]}" --formats foa --seed 31
python -m simulation --out "$out/capsules" --train 200 --train-rooms 50 "${rooms[@]}" --formats mic,binaural \
    --sound-bank "$out/bank/train" --seed 41

train foa 5000 --data-root "$out/recorded" --data-root "$out/made" --mix 0.85,0.15 --format foa
python -m job.ship "$run" --tune-on "$out/recorded" --out pretrained/foa.pth
# capsules are heard through an encoder that makes Ambisonics of them: what was learnt of those is where it begins
train mic 800 --data-root "$out/capsules" --format mic --init "$run/params_$(basename "$run")_0005000.pth" -l 0.0005
python -m job.ship "$run" --tune-on "$out/capsules" --out pretrained/mic.pth
cp "$out/bank/credits.md" pretrained/credits.md
