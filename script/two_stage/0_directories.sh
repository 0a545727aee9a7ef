#!/usr/bin/env bash
# Where the data of two-stage SELD lie, and where its features and runs go. The other scripts of this folder source it.
#   bash script/two_stage/0_directories.sh [flags of seld.py]     says it, and makes a simulated set where there is none
# On TAU Spatial Sound Events 2019 in data_tau2019; elsewhere: change the lines below, or --data-root DIR.
TAU2019_ROOT=data_tau2019
SIMULATED_ROOT=data_tau2019_simulated
FEATURES=features_two_stage

# choose_tau2019 ARGUMENTS...: sets data_flags (what goes before the user's own flags) and simulated (yes, or empty).
# Mistyped flags end here, before minutes of making data.
choose_tau2019() {
    local argument flags line kind
    data_flags=()
    simulated=""
    for argument in "$@"; do
        case "$argument" in -h | --help) return 0 ;; esac
    done
    flags="$(python -c "$READ_FLAGS" "$@")" || exit $?
    while read -r kind line; do
        case "$kind $line" in
        "flag resume" | "flag data_root") return 0 ;; # the run has its data root; the user names one
        esac
    done <<<"$flags"
    if [ -d "$TAU2019_ROOT" ]; then
        data_flags=(--data-root "$TAU2019_ROOT")
        return 0
    fi
    simulated=yes
    data_flags=(--data-root "$SIMULATED_ROOT")
    echo "No TAU 2019 here ($TAU2019_ROOT is missing): using a small simulated set in $SIMULATED_ROOT." >&2
    echo "Its scores say that the system works, not how well it does on real recordings." >&2
    python -m simulation --layout tau2019 --train 4 --seconds 30 --out "$SIMULATED_ROOT" >&2
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
    source script/data.sh
    choose_tau2019 -train --system two_stage "$@"
    echo "data      ${data_flags[1]:-as the flags say}"
    echo "features  $FEATURES (only where 1_extract_features.sh is asked to write them)"
    echo "runs      model_monitor in the folder of the data"
fi
