"""What `clinicrefund.RefundOrchestrator` runs: it reads the journal, asks the core, calls the ports, records.

``intake``, ``deliveries``, ``reports`` and ``feeds`` take what is told; ``running``, ``steps``, ``refunding`` and
``attempts`` work on what is due; ``streams`` and ``codec`` keep it.
"""
