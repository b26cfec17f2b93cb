"""Random inputs for whatever reads what others send. ``python -m tests.fuzzing --inputs 1000000`` is the long run."""
