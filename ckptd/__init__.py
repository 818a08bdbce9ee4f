"""ckptd: a wiped node gets its checkpoint back from several peers at once."""

__version__ = "0.1.0"
