from __future__ import annotations

import pytest

from ckptd.control.messages.peers import PeerRow, PeerView
from ckptd.control.messages.plans import Plan
from ckptd.control.messages.prioritized import PrioritizeRequest
from ckptd.control.messages.recovery_results import WatchEvent
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.control.roles import Roles
from ckptd.control.routes import ROUTES
from ckptd.control.server.dispatch import OwnAnswers
from ckptd.control.server.handlers import Answering, bind, methods_by_name
from ckptd.daemon.answer.activate_answers import ActivateAnswers
from ckptd.daemon.answer.collect_answers import CollectAnswers
from ckptd.daemon.answer.copies_answers import CopiesAnswers
from ckptd.daemon.answer.daemon_answers import DaemonAnswers
from ckptd.daemon.answer.job_answers import JobAnswers
from ckptd.daemon.answer.life_cycle_answers import LifeCycleAnswers
from ckptd.daemon.answer.manifest_answers import ManifestAnswers
from ckptd.daemon.answer.materialise_answers import MaterialiseAnswers
from ckptd.daemon.answer.newest_answers import NewestAnswers
from ckptd.daemon.answer.peer_answers import PeerAnswers
from ckptd.daemon.answer.plan_answers import PlanAnswers
from ckptd.daemon.answer.prioritize_answers import PrioritizeAnswers
from ckptd.daemon.answer.publish_answers import PublishAnswers
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.answer.remove_answers import RemoveAnswers
from ckptd.daemon.answer.verify_answers import VerifyAnswers
from ckptd.daemon.answer.wait_answers import WaitAnswers
from ckptd.daemon.answer.watch_answers import WatchAnswers
from ckptd.daemon.answer.watched_answers import WatchedAnswers
from ckptd.daemon.answer.workload_answers import WorkloadAnswers
from tests.support.control import StandInDaemon
from tests.support.observing import StandInObserving

ROLES = Roles(0, {})


def daemon_methods() -> dict[str, Answering]:
    """Return what the daemon answers with; it needs no parts to be looked at."""
    kinds = (
        OwnAnswers,
        RecoveryAnswers,
        PrioritizeAnswers,
        PlanAnswers,
        PublishAnswers,
        ManifestAnswers,
        NewestAnswers,
        JobAnswers,
        LifeCycleAnswers,
        CollectAnswers,
        MaterialiseAnswers,
        RemoveAnswers,
        ActivateAnswers,
        VerifyAnswers,
        PeerAnswers,
        DaemonAnswers,
        WaitAnswers,
        WatchAnswers,
        WatchedAnswers,
        CopiesAnswers,
        WorkloadAnswers,
    )
    return methods_by_name(object.__new__(kind) for kind in kinds)


def test_the_daemon_and_its_stand_in_answer_all_and_only_the_rows() -> None:
    stand_in = (StandInDaemon(), StandInObserving(), OwnAnswers(lambda: ROLES))
    for methods in (daemon_methods(), methods_by_name(stand_in)):
        bound = bind(methods)
        assert {route: method.__name__ for route, method in bound.items()} == {
            route: route.name for route in ROUTES
        }


class Misfits:
    """Methods that do not fit the row of their name."""

    def peer(self) -> PeerView:
        raise NotImplementedError

    def peers(self) -> tuple[PeerRow, ...]:
        raise NotImplementedError

    async def plan(self, request: PrioritizeRequest) -> Plan:
        raise NotImplementedError

    async def watch(self, recovery: str) -> WatchEvent:
        raise NotImplementedError

    async def cancel(self, node: str) -> RecoveryView:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["peer", "peers", "plan", "watch", "cancel"])
def test_a_method_that_does_not_fit_its_row_is_found_at_the_start(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^'{name}' takes .*; its row takes "):
        bind(daemon_methods() | {name: methods_by_name([Misfits()])[name]})


def test_a_row_without_a_method_and_a_method_without_a_row_are_found_at_the_start() -> None:
    methods = daemon_methods()
    methods["reboot"] = methods.pop("reload")
    with pytest.raises(TypeError, match="only a row or only a method: reboot, reload"):
        bind(methods)


def test_two_methods_for_one_row_are_found_at_the_start() -> None:
    with pytest.raises(TypeError, match=r"^'cancel' is answered by "):
        methods_by_name([StandInDaemon(), Misfits()])


def test_a_function_that_a_part_was_given_answers_nothing() -> None:
    part = Misfits()
    part.given = lambda: None  # type: ignore[attr-defined]
    assert "given" not in methods_by_name([part])
