"""Deliberate faults in the product, which the simulation must find."""
