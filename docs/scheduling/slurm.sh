#!/bin/bash
#SBATCH --job-name=limpid
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=limpid-%j.log
# Two minutes before the time limit the batch script gets a signal, so that limpid can save a checkpoint.
#SBATCH --signal=B:TERM@120

# A longer training than the time limit: each job goes on where the one before was interrupted.
#   sbatch slurm.sh nightly.toml

limpid run "${1:?name a pipeline file}" --threads "${SLURM_CPUS_PER_TASK:-1}" --lock-timeout 10m --log lines &
process=$!
trap 'kill -TERM "$process"' TERM
wait "$process"
code=$?
# The first wait ends with the signal, the second with limpid.
if [ "$code" -gt 128 ]; then
    wait "$process"
    code=$?
fi
# 75: interrupted with a checkpoint saved, or another job holds the run directory.
if [ "$code" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
