"""The pure heart: events, the state they fold to, and the decisions that give new events. No I/O, clock or random."""
