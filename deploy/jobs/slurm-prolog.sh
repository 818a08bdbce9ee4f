#!/bin/sh
# Prolog of Slurm (slurm.conf: Prolog=/etc/slurm/ckptd-prolog.sh, PrologFlags=Alloc so that it runs before
# the job begins, PrologEpilogTimeout above the limit here). Jobs that go on from a checkpoint say so with
# 'sbatch --comment=ckptd:llama'; others pass. Needs in /etc/ckptd/ckptd.toml of each node:
#
#   [[recover]]
#   checkpoint = "llama"
#   at = "missing"
#
# A prolog that fails drains the node, and the job is queued again. So only what another node could do
# better fails here: the daemon does not answer (7), or the checkpoint is not here in time (5). The first
# job of all, which has nothing to go on from, has no such comment.
set -u
PATH=${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}

comment=$(scontrol show job "${SLURM_JOB_ID:?}" 2>/dev/null | sed -n 's/^ *Comment=ckptd:\([A-Za-z0-9._/-]*\)$/\1/p')
test -n "$comment" || exit 0

/usr/bin/ckptctl wait "$comment" --for complete --timeout 10m --through-failures >/dev/null
code=$?
case $code in
    5 | 7) exit "$code" ;;
    0) exit 0 ;;
    *)
        logger -t ckptd-prolog "job $SLURM_JOB_ID begins without $comment: ckptctl wait ended with $code"
        exit 0
        ;;
esac
