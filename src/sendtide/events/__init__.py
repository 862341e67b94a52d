"""The words everything else speaks: typed messages, column batches, topics, time, errors.

Comes in: nothing. Goes out: types without behaviour that touches the outside world.
Invariant: this room imports no other room of the package; every other room may import it.
"""
