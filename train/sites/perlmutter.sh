# shellcheck shell=bash
# Perlmutter (NERSC): GPU nodes of 4 NVIDIA A100, Slingshot.
#
#   SITE=perlmutter sbatch --account ... --constraint gpu --qos regular train/slurm.sbatch ...
#
# From memory of documentation: unchecked, and not run there by us.

# shellcheck source=sites/generic.sh
source "$(dirname "${BASH_SOURCE[0]}")/generic.sh"

# NERSC's PyTorch comes with the NCCL plug-in for Slingshot; with a Python of your own leave the
# first out and load the second.
module load "${ORBITDS_PYTORCH:-pytorch}"
# module load nccl

# 64 cores, two threads each, for 4 processes; a process takes the GPU of its local rank.
# shellcheck disable=SC2034  # read by slurm.sbatch
ORBITDS_SRUN=(--cpus-per-task=32 --gpu-bind=none)
export OMP_NUM_THREADS=16

export NCCL_SOCKET_IFNAME=hsn
# What other Slingshot sites with NVIDIA GPUs (CSCS, NCAR, Isambard) document for libfabric.
export FI_CXI_DISABLE_HOST_REGISTER=1
export FI_MR_CACHE_MONITOR=userfaultfd
export FI_CXI_DEFAULT_CQ_SIZE=131072
# HDF5's locks are not for Lustre.
export HDF5_USE_FILE_LOCKING=FALSE
