"""``ckptctl demo``: a checkpoint is lost and comes back."""
