#!/bin/bash
# Train on the nodes of a SLURM job, from the folder of a recipe:
#   sbatch --nodes 2 --gpus-per-node 4 --cpus-per-task 32 ../slurm.sh train.py hparams/ctc.yaml --batch_duration 60
# One task a node has all of its trainers and their workers, for which --cpus-per-task has to be enough: SLURM gives it
# one core otherwise. The recipe's folder has to be one that all nodes see. A job that was requeued or is submitted again
# continues from its last checkpoint, which SIGTERM makes it save: 120 s before the time limit, and at a preemption.
#SBATCH --job-name=asr
#SBATCH --output=slurm-%j.out
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
port=$((20000 + SLURM_JOB_ID % 10000)) # another one for each job, as jobs may share a node

exec srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" torchrun \
    --nnodes "${#nodes[@]}" \
    --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv_backend c10d \
    --rdzv_endpoint "${nodes[0]}:$port" \
    --rdzv_id "$SLURM_JOB_ID" \
    "$@"
