"""``ckptctl demo --fleet``: a fleet that keeps a job recoverable, with no command typed."""
