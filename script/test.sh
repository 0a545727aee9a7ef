#!/usr/bin/env bash
# All tests (and the linter). Arguments go to pytest: bash script/test.sh tests/test_net.py -k vit
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
ruff check .
python -m pytest "$@"
