"""From measurements to a steered clock: filter, select, combine, steer, poll."""
