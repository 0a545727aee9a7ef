#!/usr/bin/env bash
# Make a challenge entry of a checkpoint: csv files of the evaluation set, metadata file, zip; then check it.
#   bash script/submit.sh CHECKPOINT                                  edition 2023, foa_eval and video_eval of the data root
#   bash script/submit.sh CHECKPOINT --edition 2022 --out DIR --label Smith_TAU_task3_1    flags go to seld.py
# CHECKPOINT is taken from where you are; relative paths in flags are taken from the project folder.
set -euo pipefail
case "${1:-}" in
"" | -*)
    echo "error: submit.sh needs a checkpoint: bash script/submit.sh RUN/params_..._0020000.pth" >&2
    exit 2
    ;;
/*) checkpoint="$1" ;;
*) checkpoint="$PWD/$1" ;;
esac
shift
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec python seld.py -submit -em "$checkpoint" "$@"
