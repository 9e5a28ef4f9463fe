# shellcheck shell=bash
# Frontier (OLCF): nodes of 4 AMD MI250X, which are 8 devices of 64 GB, and Slingshot.
#
#   SITE=frontier sbatch --account ... --ntasks-per-node 8 --gpus-per-node 8 train/slurm.sbatch ...
#
# After OLCF's pages "Frontier User Guide" and "PyTorch on Frontier"; not run there by us. They advise
# against torchrun, and to keep the Python environment on the nodes' NVMe (sbcast).

# shellcheck source=sites/generic.sh
source "$(dirname "${BASH_SOURCE[0]}")/generic.sh"

# ROCm as the wheel of PyTorch wants it; the version is yours to say (ORBITDS_ROCM=amd-mixed/...).
module load PrgEnv-gnu
module load "${ORBITDS_ROCM:-amd-mixed}"
module load craype-accel-amd-gfx90a

# 7 cores and one device a process, the one close to the cores; it sees no other and calls it 0.
# shellcheck disable=SC2034  # read by slurm.sbatch
ORBITDS_SRUN=(--cpus-per-task=7 --gpus-per-task=1 --gpu-bind=closest)
export OMP_NUM_THREADS=7

MASTER_ADDR=$(hostname -i)
export MASTER_ADDR
export NCCL_SOCKET_IFNAME=hsn0
# OLCF: may be faster; to be taken out if a run hangs.
export NCCL_NET_GDR_LEVEL=3
export NCCL_CROSS_NIC=1
# Where you have built the plug-in aws-ofi-rccl; without it RCCL talks by sockets.
if [[ -n ${AWS_OFI_RCCL:-} ]]; then
    export LD_LIBRARY_PATH=$AWS_OFI_RCCL/lib:${LD_LIBRARY_PATH:-}
fi

# MIOpen's cache on the node: a shared disk does not stand the locks of many processes.
export MIOPEN_USER_DB_PATH=/tmp/miopen-${SLURM_JOB_ID:-0}
export MIOPEN_CUSTOM_CACHE_DIR=$MIOPEN_USER_DB_PATH
