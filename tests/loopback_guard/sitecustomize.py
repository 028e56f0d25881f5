"""Python imports this by name at its start when this folder is on PYTHONPATH."""

import loopback_guard

loopback_guard.install()
