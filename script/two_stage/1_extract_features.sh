#!/usr/bin/env bash
# Features need not be extracted: training and evaluation make them of the sound as they need them.
#   bash script/two_stage/1_extract_features.sh                     says so
#   bash script/two_stage/1_extract_features.sh --out DIR [flags]   writes them into files all the same, standardised, with
#                                                                   labels; flags go to python -m dataset extract
# Relative paths in flags are taken from the project folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
source script/data.sh
source script/two_stage/0_directories.sh
if [ $# -eq 0 ]; then
    echo "Nothing to do: features are made on the fly. To write them into files (TAU 2019: 10 GB of each format):"
    echo "  bash script/two_stage/1_extract_features.sh --out $FEATURES"
    exit 0
fi
data_flags=()
case " $* " in
*" --data-root "* | *" --data-root="* | *" -h "* | *" --help "*) ;;
*) choose_tau2019 -train --system two_stage ;;
esac
exec python -m dataset extract --system two_stage ${data_flags[@]+"${data_flags[@]}"} "$@"
