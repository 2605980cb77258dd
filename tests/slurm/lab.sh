#!/usr/bin/env bash
# lab.sh NODES COMMAND...: runs the command on a Slurm cluster of its own, made for it and gone with it.
#
# Real daemons on one machine, without systemd or cgroups. A hub (munged, slurmctld, a bridge) and each node have
# network, process, mount and host name spaces of their own, so nodes differ in address, name, processes, /tmp and
# /dev/shm, and share the rest, as over NFS. The end of this script's process space ends everything in it.
# "kill 2" written to $SKILLFACTORY_LAB/control: node n2 is gone at once with all that runs there; "boot 2": it is
# back. LAB_KEEP=1 keeps the folder with the daemons' logs.
# shellcheck disable=SC2317  # functions run in other spaces
set -euo pipefail

if [[ -z ${SKILLFACTORY_LAB:-} ]]; then
    as=()
    [[ $(id -u) == 0 ]] || as=(--user --map-current-user --keep-caps)
    # Not in /tmp, of which each node has its own; and short, for the sockets in it.
    SKILLFACTORY_LAB=$(mktemp -d /var/tmp/lab-XXXXXX)
    export SKILLFACTORY_LAB
    exec unshare "${as[@]}" --net --mount --pid --ipc --uts --fork --kill-child --mount-proc -- "$0" "$@"
fi

lab=$SKILLFACTORY_LAB nodes=$1
shift
[[ -n ${LAB_KEEP:-} ]] || trap 'rm -rf "$lab"' EXIT
net=10.87.0 cpus=${LAB_CPUS:-2} user=$(id -un)
export PATH=$PATH:/usr/sbin:/sbin
# hwloc's x86 part pins each slurmstepd to one core after the other, which takes minutes beside busy processes.
export HWLOC_COMPONENTS=-x86

boot() { # NUMBER
    local name=n$1 home=$lab/nodes/n$1 first code
    code=$(declare -f live) # now: the process below has no child but the node's first
    rm -rf "$home" "$lab/slurmd.$name.pid"
    mkdir -p "$home/spool" "$home/tmp"
    chmod 1777 "$home/tmp"
    unshare --net --pid --mount --uts --ipc --fork --kill-child --mount-proc \
        bash -c "$code; live $name $net.$((10 + $1)) '$home' $net.1" </dev/null >"$lab/log/$name.out" 2>&1 &
    until first=$(pgrep -P $! -o); do sleep 0.01; done
    echo "$first" >"$home/first"
    until [[ $(readlink "/proc/$first/ns/net") != $(readlink /proc/self/ns/net) ]]; do sleep 0.01; done
    ip link del "veth$1" 2>/dev/null || true
    ip link add "veth$1" type veth peer name eth0 netns "$first"
    ip link set "veth$1" master bridge up
}

live() { # a node's first process: NAME ADDRESS HOME GATEWAY
    hostname "$1"
    if [[ $PWD == /tmp/* ]]; then # the code stays seen
        mkdir -p "$3$PWD"
        mount --bind "$PWD" "$3$PWD"
    fi
    mount --rbind "$3/tmp" /tmp
    mount -t tmpfs -o size=1g tmpfs /dev/shm
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
    ip link set lo up
    ip address add "$2/24" dev eth0
    ip link set eth0 up
    ip route add default via "$4" # Ray asks the routing table which address is its own
    slurmd -D -N "$1" &
    while :; do wait || true; sleep 3600 & done # stays, and reaps orphans
}

configuration() {
    local number
    cat <<END
ClusterName=lab
SlurmctldHost=hub($net.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$lab/run/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPidFile=$lab/slurmctld.pid
SlurmdPidFile=$lab/slurmd.%n.pid
SlurmctldLogFile=$lab/log/slurmctld.log
SlurmdLogFile=$lab/log/slurmd.%n.log
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/nodes/%n/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=10
KillWait=30
MinJobAge=3600
GresTypes=gpu
END
    for number in $(seq "$nodes"); do
        echo "NodeName=n$number NodeAddr=$net.$((10 + number)) CPUs=$cpus RealMemory=4000 Gres=gpu:2 State=UNKNOWN"
    done
    echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

control() {
    local verb number
    while read -r verb number; do
        case $verb in
            kill) kill -9 "$(cat "$lab/nodes/n$number/first")" ;;
            boot) boot "$number" ;;
        esac
    done <>"$lab/control"
}

chmod 755 "$lab"
mkdir -p "$lab"/{state,log,run,etc}
mkdir -m 700 "$lab/munge"
hostname hub
ip link set lo up
ip link add bridge type bridge
ip address add $net.1/24 dev bridge
ip link set bridge up
# Names come from a file alone: a resolver that nobody answers costs seconds for each.
{
    printf '127.0.0.1 localhost\n%s.1 hub\n' $net
    for number in $(seq "$nodes"); do echo "$net.$((10 + number)) n$number"; done
} >"$lab/etc/hosts"
sed 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf >"$lab/etc/nsswitch.conf"
mount --bind "$lab/etc/hosts" /etc/hosts
mount --bind "$lab/etc/nsswitch.conf" /etc/nsswitch.conf

(umask 077; head -c 1024 /dev/urandom >"$lab/munge/key")
force=()
[[ $(id -u) == 0 ]] || force=(--force) # above the folder others may own what is above
munged "${force[@]}" --socket="$lab/run/munge.socket" --key-file="$lab/munge/key" --pid-file="$lab/munge/pid" \
    --log-file="$lab/munge/log" --seed-file="$lab/munge/seed"
configuration >"$lab/slurm.conf"
# Make-believe GPUs: any character devices will do.
echo "NodeName=n[1-$nodes] Name=gpu File=/dev/null,/dev/zero" >"$lab/gres.conf"
export SLURM_CONF=$lab/slurm.conf
slurmctld
for number in $(seq "$nodes"); do boot "$number"; done
idle() { [[ $(sinfo --noheader --Node --format=%T 2>/dev/null | grep -c '^idle$') == "$nodes" ]]; }
for _ in $(seq 300); do ! idle || break; sleep 0.1; done
idle || { echo "the nodes did not come up; see $lab/log" >&2; sinfo --list-reasons >&2; exit 1; }
mkfifo "$lab/control"
control >>"$lab/log/control.log" 2>&1 &
code=0
"$@" || code=$?
exit "$code"
