"""``ckptctl``: everything a person or a script does with a daemon."""
