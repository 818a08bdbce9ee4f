from ckptd.sim.world.virtual_time import World


def test_plans_happen_by_time_and_then_in_the_order_in_which_they_were_made() -> None:
    world, seen = World(0), list[tuple[int, str]]()

    def see(what: str) -> None:
        seen.append((world.now, what))

    world.at(20, see, "late")
    world.at(10, see, "first")
    world.at(10, see, "second")
    world.after(5, see, "early")
    while world.step(until=100):
        pass

    assert seen == [(5, "early"), (10, "first"), (10, "second"), (20, "late")]
    assert world.now == 100


def test_nothing_happens_after_the_end_of_a_step() -> None:
    world, seen = World(0), list[int]()
    world.at(11, seen.append, 1)

    assert not world.step(until=10)
    assert seen == []
    assert world.now == 10


def test_a_moment_closes_after_all_that_was_planned_for_it() -> None:
    world, seen = World(0), list[str]()

    def act(what: str) -> None:
        seen.append(what)
        if what == "first":
            world.when_moment_closes(lambda: seen.append("closed"))
            world.at(10, act, "planned late")

    world.at(10, act, "first")
    world.at(10, act, "second")
    world.at(11, act, "next moment")
    while world.step(until=20):
        pass

    assert seen == ["first", "second", "planned late", "closed", "next moment"]


def test_chance_depends_on_the_seed_and_the_purpose_alone() -> None:
    one, same, other = World(1), World(1), World(2)

    drawn = one.stream("disk").random()
    one.stream("network").random()

    assert same.stream("disk").random() == drawn
    assert other.stream("disk").random() != drawn
    assert same.stream("network").random() != drawn
