# shellcheck shell=bash
# A cluster that needs nothing special; to be copied for one that does.
# A site says which Python runs (ORBITDS_PYTHON) and what else srun is told (ORBITDS_SRUN).

# shellcheck disable=SC2034  # read by slurm.sbatch
ORBITDS_PYTHON=${ORBITDS_PYTHON:-python}
# shellcheck disable=SC2034  # read by slurm.sbatch
ORBITDS_SRUN=()

# As many threads as a process has cores, less those that read.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
# Fewer fragments of GPU memory where sizes of batches differ.
export PYTORCH_CUDA_ALLOC_CONF=${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}

# Processes meet by themselves: on the first host of the job, at a port that follows from the job's
# number. MASTER_ADDR and MASTER_PORT override that. A network that NCCL does not find by itself:
# export NCCL_SOCKET_IFNAME=...
