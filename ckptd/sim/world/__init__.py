"""What simulated nodes live in: time, network, disks, versions."""
