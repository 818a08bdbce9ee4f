"""The scheduler: decides everything that matters in a recovery, and touches nothing.

Pure: no socket, file, clock or global randomness. Time comes in as ``now`` (integer
nanoseconds), randomness as one injected ``random.Random``.
"""
