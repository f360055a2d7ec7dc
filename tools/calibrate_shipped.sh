#!/usr/bin/env bash
# Measure the profiles that the package ships, on the GPU at hand: tools/calibrate_shipped.sh OUT [MODEL ...]
# The results belong into pcache/cost/profiles/. Run from the root of a checkout.
set -euo pipefail
out=${1:?give the directory to write the profiles to}
shift
gpu=$(python3 -c 'import torch; name = torch.cuda.get_device_name().lower()
from pcache.shapes import GPUS
print(next((gpu for gpu in GPUS if gpu in name), "gpu"))')
[ $# -gt 0 ] || set -- smollm2-135m qwen2.5-7b llama-3.1-8b
for model in "$@"; do
    echo "== $model"
    time python3 -m pcache calibrate --model "$model" --out "$out/$gpu-$model.json"
done
