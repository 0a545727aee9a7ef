# Sourced by the training scripts: checks the flags, then says which data root to train on, and makes what it needs.
# Sets data_flags: what goes before the user's own flags.

STARSS23_ROOT=data_dcase2023_task3
SYNTHETIC_ROOT=data_synthetic

# Mistyped flags end here, before minutes of making data: then what was given, a line each.
READ_FLAGS='
import sys
from seld import parse
given = parse(sys.argv[1:])
print(*(f"flag {name}" for name in given), *(f"root {root}" for root in given.get("data_root", [])), sep="\n")
print("cache", given.get("cache") or "")
'
# Nothing to do, and nothing said, where a finished set lies; one that was begun is finished with its own settings.
FINISH_SYNTHETIC='
import sys
from simulation.dataset_writer import finish_dataset
from util.cli import run_main
sys.exit(run_main(lambda argv: finish_dataset(sys.argv[1])))
'

# resize_videos ROOT CACHE: small copies of its videos, where there are none (people are found in them as well, and faster)
resize_videos() {
    if [ -d "$1/video_dev" ] && [ ! -d "$1/video_360x180_dev" ]; then
        python resize_video.py --data-root "$1" ${2:+--cache "$2"}
    fi
}

# choose_data FOLDER ARGUMENTS...: FOLDER is foa_dev, mic_dev or binaural_dev
choose_data() {
    local folder="$1" argument flags line kind video=yes cache="" roots=()
    shift
    data_flags=()
    for argument in "$@"; do
        case "$argument" in -h | --help) return 0 ;; esac
    done
    flags="$(python -c "$READ_FLAGS" -train "$@")" || exit $?
    while read -r kind line; do
        case "$kind $line" in
        "flag resume") return 0 ;; # the run has its data root and settings
        "flag no_video") video="" ;;
        "root "*) roots+=("$line") ;;
        "cache "*) cache="$line" ;;
        esac
    done <<<"$flags"
    if [ ${#roots[@]} -eq 0 ] && [ -d "$STARSS23_ROOT/$folder" ]; then
        roots=("$STARSS23_ROOT")
        data_flags=(--data-root "$STARSS23_ROOT")
    fi
    if [ ${#roots[@]} -gt 0 ]; then
        for line in "${roots[@]}"; do
            if [ -n "$video" ] && [ ! -e "$line/dataset.json" ]; then resize_videos "$line" "$cache"; fi
        done
        # The length of training on recordings, unless the (first) root says its own; an -i of the user comes later
        # on the command line, and counts.
        if [ ! -e "${roots[0]}/dataset.json" ]; then data_flags+=(-i 20000); fi
        return 0
    fi
    if [ -d "$STARSS23_ROOT/metadata_dev" ]; then
        echo "no $folder in $STARSS23_ROOT: using synthetic scenes in $SYNTHETIC_ROOT." >&2
    else
        echo "No STARSS23 here ($STARSS23_ROOT/$folder is missing): using synthetic scenes in $SYNTHETIC_ROOT." >&2
    fi
    echo "Their scores say that the system works, not how well it does on real recordings." >&2
    python -c "$FINISH_SYNTHETIC" "$SYNTHETIC_ROOT"
    data_flags=(--data-root "$SYNTHETIC_ROOT")
}
