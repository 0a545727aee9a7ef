#!/usr/bin/env bash
# Make a challenge entry of a checkpoint: csv files of the evaluation set, metadata file, zip; then check it.
#   bash script/submit.sh CHECKPOINT                                  edition 2023, foa_eval and video_eval of the data root
#   bash script/submit.sh CHECKPOINT --edition 2022 --out DIR --label Smith_TAU_task3_1    flags go to seld.py
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
if [ $# -lt 1 ]; then
    echo "error: submit.sh needs a checkpoint: bash script/submit.sh RUN/params_..._0020000.pth" >&2
    exit 2
fi
checkpoint="$1"
shift
exec python seld.py -submit -em "$checkpoint" "$@"
