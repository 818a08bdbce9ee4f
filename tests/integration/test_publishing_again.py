"""What happens when a version is published that is held already."""

import pytest

from ckptd.errors import Conflict
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
