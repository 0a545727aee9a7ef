# Sourced by every script of this folder: an environment that has what requirements.txt asks for, made once.
# - an environment that is already active (venv, conda) is used if it has everything; else .venv is made beside README.md;
# - afterwards it costs a fraction of a second, until requirements.txt or constraints.txt change.
# PYTHON=/path/to/python3.12 chooses the interpreter that .venv is made from.
# It changes into the project folder: relative paths among the arguments of a script are taken from there.

project_root="$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$project_root" || exit 1

setup_fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# The first interpreter that runs and is Python 3.11 to 3.13.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

setup_environment() {
    local active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" stamp wanted python log
    wanted="$(cat requirements.txt constraints.txt | cksum | tr -d ' ')"
    stamp=".venv/installed-$wanted"
    if [ -n "$active" ] && [ "$active" != "$project_root/.venv" ]; then
        if python script/check_requirements.py requirements.txt 2>/dev/null; then
            return 0
        fi
        echo "setup: the active environment ($active) lacks something that requirements.txt asks for; using .venv" >&2
    fi
    if [ ! -e "$stamp" ]; then
        mkdir -p .venv
        exec 9>.venv/setup.lock
        command -v flock >/dev/null && flock 9 # a second script started meanwhile waits and then finds the work done
        if [ ! -e "$stamp" ]; then
            python="$(find_python)" || setup_fail \
                "Python 3.11, 3.12 or 3.13 is needed; found $(python3 --version 2>&1 || echo none)." \
                "Install one, or name it: PYTHON=/path/to/python3.12 bash $0"
            log=".venv/install.log"
            echo "setup: making .venv with $("$python" --version) and installing the packages (once; a few minutes) ..." >&2
            "$python" -m venv .venv >"$log" 2>&1 || setup_fail "python -m venv failed:" "$(tail -n 3 "$log")" \
                "On Debian and Ubuntu: apt-get install python3-venv"
            if ! .venv/bin/python -m pip install --disable-pip-version-check --no-input \
                -r requirements.txt -c constraints.txt >"$log" 2>&1; then
                setup_fail "installing the packages failed:" "$(grep -iE '^ *(error|could not)' "$log" | tail -n 4)" \
                    "Is there a network, and does pip reach its index? The whole output is in $log." \
                    "Run the same command again once that is mended; nothing else needs to be undone."
            fi
            rm -f .venv/installed-*
            touch "$stamp"
            echo "setup: done" >&2
        fi
        exec 9>&-
    fi
    export VIRTUAL_ENV="$project_root/.venv" PATH="$project_root/.venv/bin:$PATH"
}

setup_environment
