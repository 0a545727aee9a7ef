"""Settings of all tests."""

import util.cli  # noqa: F401  sets how PyTorch's threads wait, before anything imports PyTorch
