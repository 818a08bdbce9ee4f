"""Blocks in fewer bytes: what is coded against what, and back. Pure.

Neighbouring versions of weights differ in few bits of each number. A coded block says by which
coder and against which base it was made; what comes out is verified by the digests of the manifest
like any block, so a wrong base or a lie costs a block and never a wrong byte. The coded form may
differ between sources and versions of a library: it is never hashed, kept or signed.
"""
