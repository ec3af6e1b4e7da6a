#!/bin/bash
# The five folds of a training, one job each: sbatch slurm.sh 1 3d_fullres
#SBATCH --job-name=nnunet
#SBATCH --array=0-4
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=24G
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

# Where the data lies and which environment has fastnnunet, unless the job was submitted with them. (Slurm itself sets ENVIRONMENT.)
: "${nnUNet_raw:=$HOME/nnUNet_raw}" "${nnUNet_preprocessed:=$HOME/nnUNet_preprocessed}" "${nnUNet_results:=$HOME/nnUNet_results}"
: "${NNUNET_ENVIRONMENT:=$HOME/nnunet}"
export nnUNet_raw nnUNet_preprocessed nnUNet_results
source "$NNUNET_ENVIRONMENT/bin/activate"

# --c goes on from the last checkpoint, or begins. After half an hour without a batch the job ends, to be submitted again.
exec fastnnunet train "${1:?expected a data set}" "${2:?expected a configuration}" "${3:-$SLURM_ARRAY_TASK_ID}" --c --abort-after 1800 "${@:4}"
