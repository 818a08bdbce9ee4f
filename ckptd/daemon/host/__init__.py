"""The machine around the daemon: service manager, confinement, the disks below the roots."""
