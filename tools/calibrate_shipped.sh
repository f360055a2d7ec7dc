#!/usr/bin/env bash
# Measure the profiles that the package ships, on the GPU at hand: tools/calibrate_shipped.sh OUT [MODEL ...]
# The results belong into pcache/cost/profiles/. Run from the root of a checkout. With DEVICE=cpu it
# shows on a small model that everything works; `--name` prints what the GPU is called and stops.
set -euo pipefail
python=${PYTHON:-python3} device=${DEVICE:-cuda}
gpu=cpu
[ "$device" = cpu ] || gpu=$("$python" -c 'from pcache.gpu.device import current_gpu
known = current_gpu()
print(known.name if known else "gpu")')
out=${1:?give the directory to write the profiles to}
if [ "$out" = --name ]; then
    echo "$gpu"
    exit
fi
shift
[ $# -gt 0 ] || set -- smollm2-135m qwen2.5-7b llama-3.1-8b
for model in "$@"; do
    echo "== $model"
    time "$python" -m pcache calibrate --device "$device" --model "$model" --out "$out/$gpu-$model.json"
done
