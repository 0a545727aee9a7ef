#!/usr/bin/env bash
# All tests (and the linter and the type checker). Arguments go to pytest: bash script/test.sh tests/test_net.py -k vit
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# the tests of --cluster need Dask, which comes into our own environment only
if [ "$VIRTUAL_ENV" = "$project_root/.venv" ] && ! python script/check_requirements.py requirements-cluster.txt 2>/dev/null; then
    python -m pip install --disable-pip-version-check --no-input -q -r requirements-cluster.txt -c constraints.txt ||
        echo "test: without Dask the tests of --cluster are skipped" >&2
fi
ruff check .
mypy
# a file of tests is one process's; more than four processes would wait for each other's threads
python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
