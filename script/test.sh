#!/usr/bin/env bash
# All tests (and the linter and the type checker). Arguments go to pytest: bash script/test.sh tests/test_net.py -k vit
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
ruff check .
mypy
python -m pytest "$@"
