"""Sandbox: all platforms in one process, without an account anywhere; RemoteSandbox: the same in another process."""

from clinicrefund.testing.sandbox.remote import RemoteSandbox
from clinicrefund.testing.sandbox.sandbox import PUBLIC_URL, Sandbox

__all__ = ["PUBLIC_URL", "RemoteSandbox", "Sandbox"]
