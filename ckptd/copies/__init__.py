"""Copies without a coordinator: which copies this node makes and gives back.

Every node decides for itself, from what it knows; nobody asks anybody for permission. Nothing
here reads a clock, a disk or a random number. Who feeds it, and carries out what it decides, is
``ckptd.daemon.copying``; whole fleets of it are simulated by ``ckptd.sim.fleet``.

The door is :class:`ckptd.copies.deciding.Decider`.
"""
