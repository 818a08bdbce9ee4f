"""Who the peers are."""
