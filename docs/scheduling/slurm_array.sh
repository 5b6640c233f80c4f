#!/bin/bash
#SBATCH --job-name=limpid-shard
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=limpid-shard-%A-%a.log

# One stage (corrupt, encode, denoise or export) on many nodes that share a file system, and its publication when all tasks are done:
#   tasks=$(sbatch --parsable --array=0-15 slurm_array.sh nightly.toml encode)
#   sbatch --dependency="afterok:$tasks" --array=0 slurm_array.sh nightly.toml encode commit
# A task that is killed or requeued makes only what is not finished yet.
pipeline=${1:?name a pipeline file}
stage=${2:?name a stage}

if [ "${3:-}" = commit ]; then
    exec limpid commit "$pipeline" --stage "$stage" --lock-timeout 10m --log lines
fi
limpid shard "$pipeline" --stage "$stage" --index "$SLURM_ARRAY_TASK_ID" --of "$SLURM_ARRAY_TASK_COUNT" \
    --threads "${SLURM_CPUS_PER_TASK:-1}" --log lines
code=$?
# 74: reading or writing failed; 75: ended by a signal, or somebody has published meanwhile. Others end the same way again.
if { [ "$code" -eq 74 ] || [ "$code" -eq 75 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
