"""Plans and single peers, as text for people; see :mod:`ckptd.cli.render.text`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ckptd.cli.render.text import WIDTH, measured_rate, printable, reference, table
from ckptd.control.messages.peers import PathRow, PeerView
from ckptd.control.messages.plans import PassedOverRow, Plan, PlanSource
from ckptd.control.messages.rivals import RivalRow
from ckptd.model.ids import shortened
from ckptd.model.quantities import format_duration, format_size

_UNKNOWN = "not known yet"
_CODING_SHOWN_MAX = 2
_TRUST_MAX = 8
"""What the control API says that trust is at most."""


def plan_lines(plan: Plan) -> list[str]:
    """Say what a recovery would do, and what would stop it."""
    facts = [("version", f"{reference(plan.checkpoint, plan.version)}: {plan.why}")]
    if not plan.is_settled:
        facts.append(("", "not every peer has answered yet"))
    facts += [
        ("passed over", f"{_which(other)}: {other.why}")
        for other in plan.passed_over
        if plan.version is not None or other.why not in plan.why
    ]
    facts += [
        ("content", f"{shortened(rival.digest)}, {format_size(rival.size_bytes)}, {_whose(rival)}")
        for rival in plan.rivals
    ]
    if plan.version is None:
        return aligned(facts)
    if plan.shards:
        facts.append(("shards", plan.shards))
    if plan.is_here:
        here = f"already here, nothing to do: {plan.target}"
        return aligned([*facts, ("amount", _amount(plan)), ("here", here)])
    facts.append(("amount", _amount(plan)))
    if plan.size_problem:
        facts.append(("", f"it would be refused: it {plan.size_problem}"))
    facts += [
        ("missing", _missing(plan)),
        ("here", _here(plan)),
        *(
            ("copied" if number == 0 else "", f"{format_size(row.bytes)} from {row.directory}")
            for number, row in enumerate(plan.reused_from)
        ),
        ("target", f"{plan.target}{', where something else is' if plan.is_target_taken else ''}"),
        ("room", _room(plan)),
        *_first_phase(plan),
        ("critical", _critical(plan)),
        ("complete", _predicted(plan.predicted_complete_s)),
    ]
    facts += [("", f"counting on {path}: {how}") for path, how in _coding(plan)]
    if plan.prediction_remark:
        facts.append(("", plan.prediction_remark))
    return [*aligned(facts), *_source_lines(plan.sources)]


def _coding(plan: Plan) -> list[tuple[str, str]]:
    """Say from whom blocks are expected to come coded; of many, of the first ones."""
    found = [(source.path, source.coding) for source in plan.sources if source.coding]
    more = len(found) - _CODING_SHOWN_MAX
    return found[:_CODING_SHOWN_MAX] + ([(f"{more} more", "coded as well")] if more > 0 else [])


def _which(other: PassedOverRow) -> str:
    """Name a version that is passed over; one of a job has no digest."""
    return f"{other.version} ({shortened(other.digest)})" if other.digest else str(other.version)


def peer_view_lines(peer: PeerView) -> list[str]:
    """Show everything that is known of a peer."""
    quarantine = {0: "never", 1: "once"}.get(peer.quarantines, f"{peer.quarantines} times")
    if peer.quarantined_until_s is not None:
        quarantine += f", until {_moment(peer.quarantined_until_s)}"
    facts = [
        ("node", f"{peer.node}, epoch {peer.epoch}"),
        ("address", peer.address or "it does not answer"),
        ("state", peer.state.value),
        ("versions", f"{peer.versions}, {peer.versions_complete} of them complete"),
        ("rate", _rate(peer)),
        ("latency", _latency(peer.latency_s)),
        ("trust", _trust(peer)),
        ("quarantine", quarantine),
        ("bad blocks", str(peer.bad_blocks) if peer.bad_blocks else "none"),
    ]
    if peer.trouble:
        facts.append(("trouble", peer.trouble))
    lines = aligned(facts)
    if len(peer.paths) > 1:
        lines += _path_lines(peer.paths)
    if not peer.evidence:
        return lines
    if peer.bad_blocks > len(peer.evidence):
        lines.append(f"the last {len(peer.evidence)}:")
    return lines + table(
        ("WHEN", "VERSION", "UNIT", "BLOCK", "RECOVERY", "ANSWER"),
        (
            (
                _moment(bad.at_s),
                reference(bad.checkpoint, bad.version),
                bad.unit,
                str(bad.block),
                bad.recovery,
                bad.answer,
            )
            for bad in peer.evidence
        ),
    )


def _trust(peer: PeerView) -> str:
    """Say how far a peer is trusted, and how often it failed last."""
    if peer.trust >= _TRUST_MAX:
        trust = "full"
    elif peer.trust < 0:
        trust = "low: it sent what was wrong"
    else:
        trust = "none yet" if peer.trust == 0 else "growing with what it delivers"
    failures = f"; failed {peer.failures} times in a row" if peer.failures else ""
    return f"{trust} ({peer.trust} of {_TRUST_MAX}){failures}"


def _path_lines(paths: Iterable[PathRow]) -> list[str]:
    return table(
        ("PATH", "ADDRESS", "STATE", "RATE", "LATENCY"),
        (
            (
                row.path,
                row.address or "-",
                row.state,
                measured_rate(row.rate_bytes_per_s, None, None) or _UNKNOWN,
                _latency(row.latency_s),
            )
            for row in paths
        ),
    )


def aligned(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Align facts behind their names; long facts are wrapped."""
    facts = list(facts)
    size = max(len(name) for name, _ in facts) + 2
    lines = []
    for name, fact in facts:
        lines += textwrap.wrap(
            printable(fact),
            WIDTH,
            initial_indent=name.ljust(size),
            subsequent_indent=" " * size,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return lines


def _whose(rival: RivalRow) -> str:
    signed = f"signed by {', '.join(rival.signers)}" if rival.signers else "not signed"
    return f"at {', '.join(rival.nodes) or 'this node'}, {signed}"


def _amount(plan: Plan) -> str:
    total = format_size(plan.bytes_total)
    if plan.bytes_by_class is None:
        return f"{total}; no manifest: {plan.manifest_problem}"
    classes = plan.bytes_by_class
    return (
        f"{total} in {plan.units} units: {format_size(classes.critical)} critical, "
        f"{format_size(classes.normal)} normal, {format_size(classes.deferred)} deferred"
    )


def _missing(plan: Plan) -> str:
    if not plan.missing_blocks:
        return "nothing"
    what = f"nobody has all of {', '.join(plan.missing_units) or 'it'}"
    if plan.missing_required_blocks == 0:
        return f"{what}; what is missing is optional"
    return f"{what}; critical units are among them" if plan.missing_critical_blocks else what


def _here(plan: Plan) -> str:
    if plan.here is None:
        return "nothing"
    if plan.here.is_stale:
        return f"{plan.here.directory}, but its files changed"
    share = "all of it" if plan.here.is_complete else format_size(plan.here.bytes)
    use = f"; {format_size(plan.bytes_local)} are not fetched" if plan.bytes_local else ""
    return f"{share}, in {plan.here.directory}{use}"


def _room(plan: Plan) -> str:
    verdict = "" if plan.room_bytes <= plan.free_bytes else ": too little"
    room = f"{format_size(plan.room_bytes)} needed, {format_size(plan.free_bytes)} free{verdict}"
    if plan.could_free:
        room = f"{room}. {plan.could_free}"
    if plan.memory_bytes is None:
        return room
    left = f"{format_size(plan.memory_bytes)} left below the memory limit of the daemon's cgroup"
    verdict = "" if plan.room_bytes <= plan.memory_bytes else ": the daemon would be killed"
    return f"{room}; it is in memory, with {left}{verdict}"


def _first_phase(plan: Plan) -> list[tuple[str, str]]:
    """Say what the version is of some use with, where that is not all of it."""
    first = plan.minimal_set
    if first is None or first.is_everything:
        return []
    amount = f"{first.units} units, {format_size(first.bytes)}"
    return [("first phase", f"{first.phase}: {amount}, {_predicted(first.predicted_s)}")]


def _critical(plan: Plan) -> str:
    if plan.bytes_by_class is not None and not plan.bytes_by_class.critical:
        return "no unit is"
    return _predicted(plan.predicted_critical_s)


def _predicted(predicted_s: float | None) -> str:
    return "cannot be predicted" if predicted_s is None else f"in {format_duration(predicted_s)}"


def _source_lines(sources: Sequence[PlanSource]) -> list[str]:
    is_audited = any(source.proven_at_s is not None for source in sources)
    return table(
        ("SOURCE", "STATE", "HOLDS", "RATE", "LATENCY", *(("PROVEN",) if is_audited else ())),
        (
            (
                source.path,
                source.state,
                f"{'all' if source.is_complete else 'part'}, {format_size(source.bytes)}",
                _rate(source),
                _latency(source.latency_s),
                *((_proven(source),) if is_audited else ()),
            )
            for source in sources
        ),
    )


def _proven(source: PlanSource) -> str:
    return "no" if source.proven_at_s is None else _moment(source.proven_at_s)


def _rate(peer: PeerView | PlanSource) -> str:
    return measured_rate(peer.rate_bytes_per_s, peer.rate_age_s, peer.rate_from) or _UNKNOWN


def _latency(latency_s: float | None) -> str:
    return _UNKNOWN if latency_s is None else f"{latency_s * 1000:.1f}ms"


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
