"""Sandbox: all platforms in one process, without an account anywhere."""

from clinicrefund.testing.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
