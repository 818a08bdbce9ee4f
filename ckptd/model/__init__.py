"""The values everybody speaks: names, manifests, block sets, holdings. Frozen, no I/O."""
