from ckptd.limits import MIB, MS
from ckptd.sim.world.disk import SYNC_NS, Disk
from ckptd.sim.world.virtual_time import World


def test_a_disk_does_one_thing_after_another() -> None:
    world, done = World(0), list[tuple[str, int]]()
    disk = Disk(world, 100 * MIB)
    disk.work(10 * MIB, lambda: done.append(("first", world.now)))
    disk.work(20 * MIB, lambda: done.append(("second", world.now)))
    while world.step(until=1000 * MS):
        pass
    assert done == [("first", 100 * MS + SYNC_NS), ("second", 300 * MS + 2 * SYNC_NS)]


def test_a_slow_disk_becomes_fast_again() -> None:
    disk = Disk(World(0), 100 * MIB)
    disk.set_rate(MIB)
    disk.set_rate(2 * MIB)
    disk.set_rate()
    assert disk.rate_bytes_per_s == 100 * MIB


def test_a_restart_empties_the_queue() -> None:
    world, done = World(0), list[int]()
    disk = Disk(world, MIB)
    disk.work(100 * MIB, lambda: None)
    disk.restart()
    disk.work(0, lambda: done.append(world.now))
    world.step(until=10**12)
    assert done == [SYNC_NS]
