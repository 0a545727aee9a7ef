"""Where the reference data lie that a user's checkout does not have; tests that need them skip with the reason."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared (reference outputs, real recordings)")
