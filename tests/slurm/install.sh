#!/usr/bin/env bash
# Installs what tests/slurm needs: Debian's (or Ubuntu's) Slurm daemons and clients, munge, ip, shellcheck. Again: nothing happens.
set -euo pipefail

needed=(slurmctld slurmd sbatch munged ip shellcheck)
missing() { for name in "${needed[@]}"; do PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null || echo "$name"; done; }

[[ -n $(missing) ]] || exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "tests/slurm needs $(missing | paste -sd ' '); as root on Debian: bash tests/slurm/install.sh" >&2
    exit 1
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    slurmctld slurmd slurm-client munge iproute2 procps shellcheck >/dev/null
[[ -z $(missing) ]] || { echo "apt-get did not bring $(missing | paste -sd ' ')" >&2; exit 1; }
