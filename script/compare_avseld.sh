#!/usr/bin/env bash
# Three seeds of avseld and crnn on one data root, scored with own, empty and another clip's boxes.
# Usage: bash script/compare_avseld.sh TRAIN_ROOT TEST_ROOT [DETECTOR [ITERATIONS]]
# Called again it goes on: finished trainings and scores stay, an interrupted training is resumed.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,4p "$0"; exit 2; fi
train="$(cd "$1" && pwd)" test="$(cd "$2" && pwd)"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
detector="${3:-yolox_nano}" iterations="${4:-3000}"
for seed in 0 1 2; do
    for system in avseld crnn; do
        monitor="$train/model_monitor/compare_${system}_seed${seed}"
        flags=(-train --system "$system" --data-root "$train" --format foa -rs "$seed" -i "$iterations" -s 500 -m "$monitor")
        if [ "$system" = crnn ]; then flags+=(--no-video --augment acs --schedule cosine -l 0.002); fi
        last="$(printf '%07d' "$iterations")"
        run="$(ls -d "$monitor"/2* 2>/dev/null | tail -n 1 || true)"
        if [ -z "$run" ]; then
            python seld.py "${flags[@]}" --detector "$detector"
        elif [ ! -e "$run/params_$(basename "$run")_$last.pth" ]; then
            python seld.py -train --resume "$run"
        fi
        run="$(ls -d "$monitor"/2* | tail -n 1)"
        kinds=(own)
        if [ "$system" = avseld ]; then kinds=(own empty other); fi
        for boxes in "${kinds[@]}"; do
            kept="$monitor/result_$boxes.txt"
            if [ ! -e "$kept" ]; then
                python seld.py -eval -em "$run" --data-root "$test" --detector "$detector" --boxes "$boxes" > "$kept.part"
                mv "$kept.part" "$kept"
            fi
            echo "$system seed $seed, $boxes boxes: $(grep '^# macro' "$kept")"
        done
    done
done
