"""What is said of who was asked is true of what was looked at, not of who is heard meanwhile.

A node asked the first of two peers. While it waits for a manifest of that one it hears of the
second, and from then on it has asked everybody; what it looked at before does not know of that.
"""

from __future__ import annotations

from ckptd.config.sections import SignaturesSection
from ckptd.control.messages.jobs import NewestRequest
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.waiting import WaitRequest
from ckptd.daemon.answer.awaited import Awaited
from ckptd.daemon.answer.newest_answers import NewestAnswers
from ckptd.daemon.answer.plan_answers import PlanAnswers
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from tests.support.hearing import FIRST, JOB, PLAIN, SECOND, SHARD, Hearing


def planner(node: Hearing) -> PlanAnswers:
    policy = SignaturePolicy(SignaturesSection())
    return PlanAnswers(node.recovering, node.storage, policy, node.proven, lambda *_: None)


def said(plan: Plan) -> tuple[bool, int | None, list[str]]:
    return plan.is_settled, plan.version, [source.node for source in plan.sources]


async def test_a_plan_is_not_settled_if_somebody_is_heard_while_it_is_made(
    catalog: Catalog, root: Root
) -> None:
    answers, request = planner(Hearing(PLAIN, catalog, root)), PlanRequest(checkpoint=PLAIN)
    assert said(await answers.plan(request)) == (False, 100, [FIRST])
    assert said(await answers.plan(request)) == (True, 100, [FIRST, SECOND])


async def test_nor_is_one_of_some_units_for_which_a_manifest_is_looked_into_first(
    catalog: Catalog, root: Root
) -> None:
    answers = planner(Hearing(PLAIN, catalog, root))
    request = PlanRequest(checkpoint=PLAIN, units=("normal-0",))
    assert not (await answers.plan(request)).is_settled
    assert (await answers.plan(request)).is_settled


async def test_nor_is_the_plan_of_a_job(catalog: Catalog, root: Root) -> None:
    answers = planner(Hearing(SHARD, catalog, root))
    request = PlanRequest(checkpoint=JOB, shards="all")
    assert not (await answers.plan(request)).is_settled
    assert said(await answers.plan(request)) == (True, 100, [FIRST, SECOND])


async def test_a_plan_whose_only_holder_is_lost_meanwhile_has_no_version(
    catalog: Catalog, root: Root
) -> None:
    node = Hearing(PLAIN, catalog, root, contents=2)
    node.lose()
    plan = await planner(node).plan(PlanRequest(checkpoint=PLAIN))
    assert said(plan) == (False, None, [])
    assert plan.why == "whoever had version 100 does not answer any more"


async def test_nobody_waits_for_a_newest_version_that_was_chosen_before_all_were_heard(
    catalog: Catalog, root: Root
) -> None:
    node = Hearing(SHARD, catalog, root)
    request = WaitRequest(checkpoint=JOB, goal="newest", shards="all")
    awaited = Awaited(request, node.storage, node.recovering, node.proven)
    seen = []
    for _ in range(2):
        await awaited.see_newest()
        sight, _ = await awaited.look()
        assert sight.newest is not None
        seen.append((sight.newest.version, sight.newest.is_settled))
    assert seen == [(100, False), (100, True)]


async def test_nodes_do_not_agree_on_a_version_that_was_chosen_before_all_were_heard(
    catalog: Catalog, root: Root
) -> None:
    node = Hearing(SHARD, catalog, root)
    answers, request = NewestAnswers(node.recovering, node.proven), NewestRequest(job=JOB, for_s=0)
    first, second = await answers.newest(request), await answers.newest(request)
    assert (first.version, first.is_agreed, first.silent) == (100, False, (SECOND,))
    assert (second.version, second.is_agreed, second.silent) == (100, True, ())
