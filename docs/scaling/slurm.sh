#!/bin/bash
#SBATCH --job-name=lilllm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@300
#SBATCH --open-mode=append
# sbatch docs/scaling/slurm.sh configs/39m.yaml pretrain.max_tokens=2e9
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=240  # seconds to save after a signal
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Out of time: every process saves at the same step, and the job goes back into the queue.
trap 'scancel --signal=TERM "$SLURM_JOB_ID"; wait; scontrol requeue "$SLURM_JOB_ID"' TERM
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_NNODES" --nproc-per-node "$SLURM_GPUS_ON_NODE" \
  --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$SLURM_JOB_ID" \
  -m lilllm pretrain "$@" &
wait
