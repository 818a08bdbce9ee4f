"""The receiving side: one connection to a source each, with the thread that takes bodies off it."""
