"""One file a vendor, both directions. A vendor's classes are its name and their role: ``StripeGateway``.

Importing one adapter imports no other, and none imports an HTTP library: `clinicrefund.http` sends.
"""
