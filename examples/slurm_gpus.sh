#!/bin/bash
#SBATCH --job-name=qwen-7b
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --no-kill

# Made by python -m cluster.slurm. Submit it with sbatch from the folder in which the command is to run: all
# nodes must see that folder and the Python environment.
# shellcheck disable=SC2317  # functions are called by traps and on other nodes

run=runs/qwen-7b
env_setup=.venv/bin/activate
container=''
container_mounts=''
gpus_per_node=8
wait_s=600
max_requeues=100
grace_s=150
command=(python -m generation.run --model Qwen2.5-7B-Instruct --task countdown_4arg --out runs/qwen-7b)

# From here on every script is the same; the options are quoted above.

say() { echo "$(date '+%F %T') launcher: $*"; }

# Run Ray on one node, in a folder of its own, until told to end. Slurm signals every process of a step at once. Ray
# leaves some behind: the reaper kills whatever carries the mark or has a file in the folder open, then removes
# the folder.
ray_node() {
    local folder=$1 mark=$2 logs=$3 gpus=$4 ray reaper
    shift 4
    # Ray's own folder is accessible to everyone, so it is inside one that is ours alone.
    mkdir -m 700 "$folder" 2>/dev/null || [[ -d $folder && -O $folder && ! -L $folder ]] || return 1
    # Without such a file in its HOME Ray's head asks the network which cloud it runs in.
    echo 'provider: {type: local}' >"$folder/ray_bootstrap_config.yaml"
    trap '' USR2
    exec 3> >(exec python3 -m cluster.reaper "$mark" "$folder")
    reaper=$!
    trap '[[ -z ${ray:-} ]] || kill "$ray" 2>/dev/null' TERM USR2
    # An engine takes one of Ray's CPUs: there must be as many as GPUs.
    env "$mark=1" HOME="$folder" ray start --block "$@" --temp-dir="$folder/r" --num-gpus="$gpus" \
        --num-cpus="$((SLURM_CPUS_ON_NODE > gpus ? SLURM_CPUS_ON_NODE : gpus))" --object-store-memory=268435456 \
        --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 --disable-usage-stats 3>&- &
    ray=$!
    while kill -0 "$ray" 2>/dev/null; do wait "$ray"; done
    [[ ! -e $logs/failed ]] || cp -r "$folder"/r/session_latest/logs "$logs/ray-$SLURMD_NODENAME"
    exec 3>&-
    wait "$reaper"
}

# Run COMMAND... as a step on NODE, beside other steps; a lost node ends only this step. Always in the background.
step() {
    local node=$1
    shift
    exec srun --overlap --no-kill --kill-on-bad-exit=0 --nodes=1 --ntasks=1 --nodelist="$node" --cpu-bind=none \
        ${inside[@]+"${inside[@]}"} "$@" </dev/null
}

# Run Ray on NODE, up to TIMES times if it ends by itself; a new head would be a cluster that the driver does not know.
keep_ray() {
    local node=$1 times=$2 ended='' try
    shift 2
    trap 'signals=$((signals + 1)) ended=1' TERM
    for ((try = 1; try <= times; try++)); do
        step "$node" bash -c "$(declare -f ray_node); ray_node \"\$@\"" ray_node \
            "$folder" "$mark" "$logs" "$gpus_per_node" "$@" >>"$logs/ray-$node.log" 2>&1 &
        attend $!
        [[ -z $ended ]] || return
        say "Ray on $node ended, time $try of $times; see $logs/ray-$node.log"
        [[ $node != "$head" || ! -e $logs/driver.log ]] || return
        ((try == times)) || sleep 15
    done
}

# Wait for PID whatever signals arrive, and return its exit code.
attend() {
    local before code
    while before=$signals; wait "$1"; code=$?; ((signals > before)); do :; done
    return "$code"
}

end_ray() {
    ((${#keepers[@]})) || return
    kill "${keepers[@]}" 2>/dev/null
    scancel --signal=USR2 "$SLURM_JOB_ID" 2>/dev/null
    wait "${keepers[@]}"
    keepers=()
}

give_up() {
    say "$1"
    tail -n 20 "$2"
    touch "$logs/failed"
    exit 1
}

finished_shards() { find "$run/shards" -maxdepth 1 -name '*.parquet' 2>/dev/null | wc -l; }

# Ask Slurm to start this job again, unless that has led nowhere; return if it does not.
requeue() {
    local stalled=$run/logs/slurm/$SLURM_JOB_ID.stalled tries=0
    [[ ! -e $stalled ]] || read -r tries <"$stalled"
    if (($(finished_shards) > shards_before)); then tries=0; else tries=$((tries + 1)); fi
    echo "$tries" >"$stalled"
    if ((tries >= 3)); then
        say "three starts in a row finished no question: not requeued; $1"
    elif ((${SLURM_RESTART_COUNT:-0} >= max_requeues)); then
        say "requeued $max_requeues times: not again; the same script submitted again goes on"
    else
        say "work is left: asking Slurm to requeue this job"
        trap 'exit 75' TERM # how Slurm says yes
        scontrol requeue "$SLURM_JOB_ID" && { sleep 120 & wait $!; }
        say "Slurm does not requeue this job; the same script submitted again goes on"
    fi
}

# Whether the driver was killed: by a signal, such as for lack of memory, or with the Ray on its node.
driver_was_killed() {
    ((code > 128)) || { ((code == 1)) && grep -q '^failed: ClusterLostError: ' "$logs/driver.log"; }
}

[[ -n ${SLURM_JOB_ID:-} ]] || { echo "this is a script for sbatch" >&2; exit 2; }
if [[ -n $env_setup ]]; then
    # shellcheck source=/dev/null
    source "$env_setup" || { say "--env_setup $env_setup could not be sourced"; exit 1; }
fi
set -u

logs=$run/logs/slurm/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
folder=/tmp/ray-$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
mark=SKILLFACTORY_MARK_SLURM_$SLURM_JOB_ID
mkdir -p "$logs" || { say "$logs cannot be made"; exit 1; }
log=$run/logs/slurm/$SLURM_JOB_ID.out
if [[ ! /dev/stdout -ef $log ]]; then # submitted by hand
    say "everything is logged in $log"
    exec >>"$log" 2>&1
fi

inside=()
if [[ -n $container ]]; then
    inside=("--container-image=$container" "--container-workdir=$PWD"
        "--container-mounts=$PWD:$PWD,/tmp:/tmp${container_mounts:+,$container_mounts}")
fi

# After sbatch --export=NONE, which may be a site's default, steps would get neither these variables nor PATH.
export SLURM_EXPORT_ENV=ALL
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 PYTHONUNBUFFERED=1
# With its statistics off Ray's head still reports that they are off, unless the address leads nowhere.
export RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9/
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
# The token of this Ray, known only to this job's processes.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

signals=0 notice='' cancelled='' driver='' keepers=()
tell_driver() { [[ -z $driver ]] || kill -USR1 "$driver" 2>/dev/null; }
trap 'signals=$((signals + 1)) notice=1; say "time is nearly up, or the nodes are wanted: draining"; tell_driver' USR1
trap 'signals=$((signals + 1)) cancelled=1; say "told to end"; tell_driver' TERM
trap end_ray EXIT

# The head's address as other nodes see it: on the head its own name often resolves to 127.0.1.1.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
name=$(scontrol -o show node "$head" | grep -o ' NodeAddr=[^ ]*' | cut -d= -f2)
ip=$(getent ahostsv4 "${name:-$head}" | awk '$1 !~ /^127[.]/ {print $1; exit}')
[[ -n $ip ]] || ip=$(hostname -I | awk '{print $1}')
listening() { (exec 3<>"/dev/tcp/$ip/$1") 2>/dev/null; }
port=$((20000 + 2 * SLURM_JOB_ID % 10000)) # two of them: Ray's own and its client's
while listening "$port" || listening $((port + 1)); do port=$((20000 + (port - 19998) % 10000)); done
address=$ip:$port

say "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), on ${nodes[*]}; logs in $logs"
shards_before=$(finished_shards)
keep_ray "$head" 3 --head --node-ip-address="$ip" --port="$port" \
    --include-dashboard=false --ray-client-server-port=$((port + 1)) &
keepers=($!)
until listening "$port"; do
    kill -0 "${keepers[0]}" 2>/dev/null || give_up "Ray did not start on $head" "$logs/ray-$head.log"
    ((SECONDS < wait_s)) || give_up "Ray did not start on $head within $wait_s s" "$logs/ray-$head.log"
    [[ -z $notice$cancelled ]] || break
    sleep 0.5
done
for node in "${nodes[@]:1}"; do
    keep_ray "$node" 5 --address="$address" &
    keepers+=($!)
done
# Ray gives a node half a minute to come up, which is too little for the first read from a slow file system: retry.
for ((try = 1; try <= 3; try++)); do
    [[ -z $notice$cancelled ]] || break
    step "$head" python3 -m cluster.nodes "$address" "${#nodes[@]}" "$wait_s" &
    driver=$!
    attend "$driver" && break
    [[ -z $notice$cancelled ]] || break
    if ((try == 3)) || ! kill -0 "${keepers[0]}" 2>/dev/null; then
        give_up "Ray's nodes cannot be counted" "$logs/ray-$head.log"
    fi
    say "Ray's nodes cannot be counted, time $try of 3"
    sleep 20 & wait $!
done
driver=
code=75
if [[ -z $notice$cancelled ]]; then
    say "the driver starts; follow it in $logs/driver.log"
    step "$head" env SKILLFACTORY_SPARED=1 "${command[@]}" --address "$address" --grace_s "$grace_s" \
        >>"$logs/driver.log" 2>&1 &
    driver=$!
    attend "$driver"
    code=$?
    driver=
    ((code == 138)) && code=75 # ended by our signal before its handler was installed: nothing was begun
    tail -n 30 "$logs/driver.log"
fi
say "the driver's exit code is $code"
((code == 0 || code == 2 || code == 75)) || touch "$logs/failed" # Ray's own logs are kept then
end_ray
if [[ -z $cancelled ]]; then
    if [[ -n $notice ]] && ((code == 75)); then requeue "ask for a longer --time"; fi
    if driver_was_killed; then requeue "see $logs"; fi
fi
exit "$code"
