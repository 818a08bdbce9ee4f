"""The composition root and the runtime that feeds the scheduler and carries out its orders."""
