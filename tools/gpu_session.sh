#!/usr/bin/env bash
# What is still to be measured on this GPU, as much as fits: tools/gpu_session.sh OUT SECONDS [PART ...]
#
# Parts, in this order if none is named:
#   calibrate     profiles of this GPU that pcache/cost/profiles/ lacks, to OUT
#   side_by_side  the cells; designed anew if they were for another GPU
#   claims        often-quoted figures
#   policy_case   LRU and learned lifetimes
# Cells need their profile in pcache/cost/profiles/, committed before the first of them runs: a visit that
# calibrates measures none. Runs collect in RUNS (runs/gpu) and leave as OUT/PART.tar.xz, packed after
# each part. What those archives, or reports/PART/runs.tar.xz, hold of this GPU already is not measured
# again, so the same command goes on where the last one stopped.
#
# From the root of a checkout. Environment: PCACHE_TRACES (directory of the Mooncake trace), PYTHON,
# PCACHE_COMMIT (of a copy without .git), and DEVICE=cpu, which shows with a tiny model that all works.
set -uo pipefail
out=${1:?give the directory for the results} budget=${2:?give the seconds that all of it may take}
shift 2
[ $# -gt 0 ] || set -- calibrate side_by_side claims policy_case
export PYTHON=${PYTHON:-python3} DEVICE=${DEVICE:-cuda} PYTHONUNBUFFERED=1
runs=${RUNS:-runs/gpu} profiles=pcache/cost/profiles packing_s=15
models="llama-3.1-8b qwen2.5-7b smollm2-135m"
[ "$DEVICE" != cpu ] || models=tiny
SECONDS=0 # bash counts from here
mkdir -p "$out" "$runs"
gpu=$(tools/calibrate_shipped.sh --name) || exit
[ "$gpu" != gpu ] || { echo "no GPU here that pcache knows (pcache/shapes.py)" && exit 1; }

# Seconds for a part that may take $1: no more than are left.
allowed() {
    local left=$((budget - packing_s - SECONDS))
    echo $((left < $1 ? left : $1))
}

calibrate() {
    local model name seconds
    for model in $models; do
        name=$gpu-$model.json seconds=$(allowed 300)
        [ ! -e "$profiles/$name" ] && [ ! -e "$out/$name" ] || continue
        [ "$seconds" -ge 60 ] || { echo "no time for $name"; continue; }
        timeout --signal=INT --kill-after=15 "$seconds" tools/calibrate_shipped.sh "$out" "$model" ||
            { echo "$name: not finished"; rm -f "$out/$name"; }
    done
}

# Whether the runs below $1, if any, are of the GPU at hand.
of_this_gpu() {
    local config
    config=$(compgen -G "$1/*/measured-*/*/config.json" | head -n 1)
    [ -z "$config" ] || grep -qi "\"gpu\": \"[^\"]*$gpu[^\"]*\"" "$config"
}

# Measure part $1 for at most $2 seconds, then pack what there is.
measure() {
    local part=$1 place=$runs/$1 seconds archive
    if [ ! -e "$place" ]; then
        for archive in "reports/${part//_/-}/runs.tar.xz" "$out/$part.tar.xz"; do
            [ ! -e "$archive" ] || "$PYTHON" -m "benchmarks.$part" unpack "$archive" "$place"
            of_this_gpu "$place" || rm -rf "$place"
        done
    fi
    seconds=$(allowed "$2")
    [ "$seconds" -ge 30 ] || { echo "no time for $part"; return; }
    timeout --signal=INT --kill-after=15 "$seconds" "$PYTHON" -m "benchmarks.$part" measure "$place" \
        --device "$DEVICE" --seconds "$((seconds - 5))" || echo "$part: more is left"
    if compgen -G "$place/*/measured-*" >/dev/null; then
        "$PYTHON" -m "benchmarks.$part" pack "$place" "$out/$part.tar.xz"
    fi
}

side_by_side() {
    local profile=$profiles/$gpu-llama-3.1-8b.json
    if [ "$DEVICE" != cpu ]; then
        [ -e "$profile" ] || { echo "cells: commit $profile first"; return; }
        grep -q "\"gpu\": \"$gpu\"" reports/side-by-side/design.json ||
            "$PYTHON" -m benchmarks.side_by_side design --gpu "$gpu" || return
    fi
    measure side_by_side 3600
}

for part in "$@"; do
    echo "== $part, $SECONDS of $budget s are over"
    case $part in
    calibrate | side_by_side) "$part" ;;
    claims) measure claims 300 ;;
    policy_case) measure policy_case 300 ;;
    *) echo "no part $part: calibrate, side_by_side, claims or policy_case" && exit 2 ;;
    esac
done
echo "== end after $SECONDS s"
ls -l "$out"
