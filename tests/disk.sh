#!/bin/sh
# One run through a full disk, a folder that cannot be written, and a healthy disk, in a mount namespace of its own.
# Usage: disk.sh PYTHON RUN OUT FLAGS...   Prints "code N" after each start; OUT is what the last one made.
set -eu
python=$1 run=$2 out=$3
shift 3
start() { code=0; "$python" -m tests.drive_run slow_reply --out "$run" "$@" 2>&1 || code=$?; echo "code $code"; }

mkdir -p "$run"
mount -t tmpfs -o size=96k tmpfs "$run"
echo "== full"
start "$@"
ls -A "$run/shards" | sed 's/^/lies there: /'

mount -o remount,size=64m "$run"
mount --bind "$run/shards" "$run/shards"
mount -o remount,bind,ro "$run/shards"
echo "== read-only"
start "$@"

umount "$run/shards"
echo "== healthy"
start "$@"
cp -r "$run/RAW_DATA" "$out"
