#!/usr/bin/env bash
# The bottlenecks compared: autoencoder, Gaussian VAE, VQ and VQ-EMA with the same encoder, decoders, data and steps.
# What is done already is not done again.
#
#   recipes/vctk/compare.sh DATA LABELS RUNS     DATA: of `speechvq prepare`; LABELS: of `speechvq align`
#   STEPS=1500 WAVENET_STEPS=300 SEEDS="0 1"     steps with the mel decoder, then of the WaveNet on frozen latents
set -euo pipefail
data=$1 labels=$2 runs=$3
recipe=$(dirname "$0")
mkdir -p "$runs"
declare -A bottleneck=(
    [ae]='{ kind = "ae", dim = 64 }'
    [vae]='{ kind = "vae", dim = 64, beta = 0.1, warmup = 500 }'
    [vq]='{ kind = "vq", codes = 128, dim = 64 }'
    [ema]='{ kind = "ema", codes = 128, dim = 64 }'
)

train() { # RUN CONFIG ...
    local run=$1 config=$2
    [[ -f $run/trained ]] && return
    speechvq train "$recipe/$config" --data "$data" --out "$run" --force \
        --set "model.bottleneck=${bottleneck[$kind]}" --set train.seed="$seed" "${@:3}"
    touch "$run/trained"
}

measure() { # RUN QUESTION ...
    [[ -f $1/$2.json ]] || { speechvq evaluate "$2" --model "$1" --data "$data" "${@:3}" --json > "$1/$2.tmp" && mv "$1/$2.tmp" "$1/$2.json"; }
}

for seed in ${SEEDS:-0 1}; do
    for kind in ema vq ae vae; do
        run=$runs/$kind-$seed
        train "$run" phonemes.toml --set train.steps="${STEPS:-1500}"
        train "$run-wavenet" phonemes-wavenet.toml --set train.steps="${WAVENET_STEPS:-300}" --init "$run"
        measure "$run" reconstruction
        measure "$run" phonemes --labels "$labels"
        measure "$run" leakage
        measure "$run-wavenet" reconstruction
    done
done
python "$recipe/compare.py" "$runs"
