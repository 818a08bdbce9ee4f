"""Chains: versions that are the difference to another one of the same name. Pure.

A *delta version* has, of each tensor that changed, its difference to the *base version*; what it
stands on may be a delta version itself, so they form a *chain* that ends at a full version. Such
directories are published and recovered like any others. Here is what their index says, which
versions a version needs, and which way to a full version is the fastest.

Nothing here reads a file, a clock or a random number.
"""
