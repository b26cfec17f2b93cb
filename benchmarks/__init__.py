"""How fast clinicrefund is, beside others that do the same or part of it: ``python -m benchmarks``."""
