# Sourced by the training scripts: which data root to train on, and what it still needs.
# Sets data_flags (empty when the user names a data root among the arguments).

STARSS23_ROOT=data_dcase2023_task3
SYNTHETIC_ROOT=data_synthetic

# choose_data FOLDER ARGUMENTS...: FOLDER is foa_dev, mic_dev or binaural_dev
choose_data() {
    local folder="$1" argument
    shift
    data_flags=()
    for argument in "$@"; do
        case "$argument" in --data-root | --data-root=* | --resume | --resume=* | -h | --help) return 0 ;; esac
    done
    if [ -d "$STARSS23_ROOT/$folder" ]; then
        if [ -d "$STARSS23_ROOT/video_dev" ] && [ ! -d "$STARSS23_ROOT/video_360x180_dev" ]; then
            python resize_video.py --data-root "$STARSS23_ROOT"
        fi
        data_flags=(--data-root "$STARSS23_ROOT" -i 20000)
        return 0
    fi
    echo "No STARSS23 here ($STARSS23_ROOT/$folder is missing): using synthetic scenes in $SYNTHETIC_ROOT." >&2
    echo "Their scores say that the system works, not how well it does on real recordings." >&2
    python -m simulation --out "$SYNTHETIC_ROOT"
    data_flags=(--data-root "$SYNTHETIC_ROOT")
}
