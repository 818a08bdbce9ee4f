"""What happens when a version is published that is held already, or not finished."""

import time

import pytest

from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.errors import Conflict, ContentChanged, UsageError
from ckptd.limits import SECOND
from tests.support.cluster import Cluster, make_checkpoint, tree_digest, without_moments

pytestmark = pytest.mark.integration


def test_the_same_content_changes_nothing_and_other_content_needs_permission(
    cluster: Cluster,
) -> None:
    (source,) = cluster.sources("a")
    first = source.client.checkpoints()
    again = source.publish(source.path("100"))
    assert (again.is_new, again.digest) == (False, first[0].digest)
    after = source.client.checkpoints()
    assert without_moments(after) == without_moments(first)
    assert after[0].places[0].checked_at_s > first[0].places[0].checked_at_s

    other = make_checkpoint(source.path("other"), seed=2)
    with pytest.raises(Conflict):
        source.publish(other)
    assert without_moments(source.client.checkpoints()) == without_moments(first)

    replaced = source.publish(other, replace=True)
    assert replaced.is_new
    assert [row.digest for row in source.client.checkpoints()] == [replaced.digest]
    result = cluster.node("r", peers=[source.address]).recover()
    assert tree_digest(result.target) == tree_digest(other)


def test_a_line_in_a_log_beside_the_weights_costs_nothing(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    directory = make_checkpoint(source.path("200"), seed=3)
    (directory / "train.log").write_text("step 1\n")
    request = PublishRequest(
        directory=str(directory), checkpoint="logged", version=200, is_dry_run=True
    )
    (dry,) = source.client.publish(request)
    assert isinstance(dry, PublishResult)
    assert (dry.digest, dry.is_dry_run, dry.excluded) == ("", True, ("train.log",))
    assert not [row for row in source.client.checkpoints() if row.checkpoint == "logged"]

    published = source.publish(directory, "logged", 200)
    assert (published.units, published.size_bytes) == (dry.units, dry.size_bytes)
    assert (published.excluded, published.excluded_files) == (("train.log",), 1)
    with (directory / "train.log").open("a") as log:
        log.write("step 2\n")
    result = cluster.node("r", peers=[source.address]).recover("logged", 200)
    (directory / "train.log").unlink()
    assert tree_digest(result.target) == tree_digest(directory)


@pytest.mark.parametrize("settled_s", [-1.0, 601.0])
def test_a_time_to_settle_is_bounded(cluster: Cluster, settled_s: float) -> None:
    (source,) = cluster.sources("a")
    request = PublishRequest(
        directory=str(source.path("100")), checkpoint="a", version=1, settled_s=settled_s
    )
    with pytest.raises(UsageError, match="is not between 0 and 600 seconds"):
        list(source.client.publish(request))


def test_a_directory_is_refused_until_it_is_complete_and_settled(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    directory = make_checkpoint(source.path("300"), seed=4)
    request = PublishRequest(
        directory=str(directory), checkpoint="a", version=300, require=("done",), settled_s=2.0
    )
    with pytest.raises(ContentChanged, match="not complete yet: no file matches 'done'"):
        list(source.client.publish(request))
    (directory / "done").touch()
    *_, last = source.client.publish(request)
    assert isinstance(last, PublishResult)
    assert time.time_ns() >= (directory / "done").stat().st_ctime_ns + 2 * SECOND
