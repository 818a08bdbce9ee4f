"""What a person or a script types: ``ckptd`` and ``ckptctl``."""
