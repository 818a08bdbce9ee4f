"""The sections ``[jobs.NAME]``: which shards of a job are this node's."""

from __future__ import annotations

from ckptd.config.document import Document
from ckptd.config.sections import JobSection
from ckptd.errors import UsageError
from ckptd.model.ids import parse_checkpoint_name
from ckptd.model.shards import parse_shards, split_shard
from ckptd.model.toml_text import kind_of, text


def read_jobs(document: Document) -> dict[str, JobSection]:
    """Read what is said of each job; what cannot be used is kept.

    Raises:
        ConfigurationError: It is no table.
    """
    jobs: dict[str, JobSection] = {}
    for job, values in document.table("jobs").items():
        place = f"jobs.{job[:64]}"
        with document.collecting():
            document.parse(place, job, _job_name)
            if not isinstance(values, dict):
                document.fail(
                    place, f"is {kind_of(values)}, not a table", "Begin it with [jobs.NAME]."
                )
            document.check_keys(f"{place}.", values, ("shards",))
            if "shards" not in values:
                document.fail(f"{place}.shards", "is missing", "It has no default.")
            shards = document.parse(f"{place}.shards", values["shards"], text(_shards))
            jobs[job] = JobSection(shards=shards)
    return jobs


def _shards(words: str) -> str:
    return str(parse_shards(words))


def _job_name(name: object) -> None:
    """Check what stands for a job.

    Raises:
        UsageError: It is the name of no checkpoint, or that of a shard.
    """
    job = parse_checkpoint_name(str(name))
    if split_shard(job) is not None:
        raise UsageError("", "is the name of a shard", "Name the job, e.g. [jobs.llama].")
