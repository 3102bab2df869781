#!/usr/bin/env bash
# The bottlenecks compared: autoencoder, Gaussian VAE, VQ and VQ-EMA with the same encoder, decoders, data and steps.
# What is done already is not done again.
#
#   recipes/vctk/compare.sh DATA LABELS RUNS     DATA: of `speechvq prepare`; LABELS: of `speechvq align`
#   STEPS=1500 WAVENET_STEPS=300 SEEDS="0 1"     steps with the mfcc decoder, then of the WaveNet on frozen latents
set -euo pipefail
[[ $# -eq 3 ]] || { echo "usage: compare.sh DATA LABELS RUNS" >&2 && exit 2; }
recipe=$(cd "$(dirname "$0")" && pwd)
data=$1 labels=$2 out=$3
source "$recipe/../lib.sh"
declare -A bottleneck=(
    [ae]='{ kind = "ae", dim = 64 }'
    [vae]='{ kind = "vae", dim = 64, beta = 0.1, warmup = 500 }'
    [vq]='{ kind = "vq", codes = 128, dim = 64 }'
    [ema]='{ kind = "ema", codes = 128, dim = 64 }'
)

for seed in ${SEEDS:-0 1}; do
    for kind in ema vq ae vae; do
        key="" # runs do not depend on one another
        name=$kind-$seed run=$out/$kind-$seed
        how=(--set "model.bottleneck=${bottleneck[$kind]}" --set "train.seed=$seed")
        step "train-$name" train "$run" "$recipe/phonemes.toml" "${how[@]}" --set "train.steps=${STEPS:-1500}"
        step "train-$name-wavenet" train "$run-wavenet" "$recipe/phonemes-wavenet.toml" "${how[@]}" \
            --set "train.steps=${WAVENET_STEPS:-300}" --init "$run"
        step "reconstruction-$name" evaluate "$run" reconstruction
        step "phonemes-$name" evaluate "$run" phonemes --labels "$labels"
        step "leakage-$name" evaluate "$run" leakage
        step "reconstruction-$name-wavenet" evaluate "$run-wavenet" reconstruction
    done
done
python "$recipe/compare.py" "$out"
