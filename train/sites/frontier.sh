# shellcheck shell=bash
# Frontier (OLCF): nodes of 4 AMD MI250X, 8 devices of 64 GB, Slingshot.
#
#   SITE=frontier sbatch --account ... --ntasks-per-node 8 --gpus-per-node 8 train/slurm.sbatch ...
#
# From OLCF's user guide: 8 devices a node, 64 cores of which Slurm keeps 8 by default.
# NOT run on the machine by us; module versions and the plug-in's path change: see the guide.

# shellcheck source=sites/generic.sh
source "$(dirname "${BASH_SOURCE[0]}")/generic.sh"

# A ROCm that fits the wheel of PyTorch; unchecked.
module load PrgEnv-gnu
module load "${ORBITDS_ROCM:-rocm}"

# 7 cores and one device a process, the device that is close to the cores. A process sees all
# devices of its node and takes that of its local rank.
# shellcheck disable=SC2034  # read by slurm.sbatch
ORBITDS_SRUN=(--cpus-per-task=7 --gpu-bind=none)
export OMP_NUM_THREADS=7

# Slingshot; without the aws-ofi plug-in RCCL talks by sockets, which works and is slow.
export NCCL_SOCKET_IFNAME=hsn0
export NCCL_NET_GDR_LEVEL=3     # unchecked
export NCCL_CROSS_NIC=1         # unchecked
export FI_CXI_DEFAULT_CQ_SIZE=131072
if [[ -n ${AWS_OFI_RCCL:-} ]]; then
    export LD_LIBRARY_PATH=$AWS_OFI_RCCL/lib:${LD_LIBRARY_PATH:-}
fi

# MIOpen's cache on the node: a shared home does not stand the locks of many processes.
export MIOPEN_USER_DB_PATH=/tmp/miopen-${SLURM_JOB_ID:-0}
export MIOPEN_CUSTOM_CACHE_DIR=$MIOPEN_USER_DB_PATH
