#!/usr/bin/env bash
# The packaged models, from speech to speechvq/models: about three hours on two cores.
#
#   recipes/models/build.sh DATA OUT
#
# DATA holds vctk, arctic and librispeech (corpus.py). What is done in OUT is not done again, and a training that was
# interrupted goes on; a changed configuration starts over in another OUT.
set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd)
[[ $# -eq 2 && -d $1 ]] || { echo "usage: build.sh DATA OUT" >&2 && exit 2; }
data=$1 out=$2
mkdir -p "$out"

step() { # NAME COMMAND...: unless it was done
    [[ -e $out/done-$1 ]] || { echo "$1" && "${@:2}" && touch "$out/done-$1"; }
}

train() { # RUN CONFIG CORPUS ...
    local resume=()
    [[ ! -f $out/$1/last.safetensors ]] || resume=(--resume)
    speechvq train "$2" --data "$out/$3" --out "$out/$1" "${@:4}" ${resume[@]+"${resume[@]}"}
}

evaluate() { # RUN QUESTION CORPUS ...
    speechvq evaluate "$2" --model "$out/$1" --data "$out/$3" --save "$out/$1/$2.json" "${@:4}"
}

step corpus python "$recipe/corpus.py" "$data" "$out/corpus"

# Nobody has heard these speakers: two minutes of p228, to adapt to, and ten seconds each of the others.
few=p229,p237,p253,p264,p282,p310,p347
step prepare speechvq prepare folder "$out/corpus" "$out/speech" --unseen-speakers "p228,$few"
step convert-codes train convert-50hz-codes "$recipe/convert-50hz-codes.toml" speech
step convert-voice train convert-50hz-voice "$recipe/convert-50hz.toml" speech --init "$out/convert-50hz-codes" \
    --set model.jitter=0.1 --set 'init.parts=["encoder", "bottleneck"]' --set train.steps=2500 --set train.learning_rate=1e-3
step convert train convert-50hz "$recipe/convert-50hz.toml" speech --init "$out/convert-50hz-voice"
step convert-evaluate evaluate convert-50hz conversion speech --count 3 --wavs "$out/convert-50hz/wavs"
step convert-pack python "$recipe/pack.py" "$out/convert-50hz" convert-50hz

# Phones are counted over half an hour of speakers whom neither the codes nor the mapping have seen.
step prepare-phonemes speechvq prepare folder "$out/corpus" "$out/phonemes" --unseen-speakers "27,p226,$few"
step align speechvq align "$out/phonemes" "$out/labels"
step phoneme-codes train phoneme-25hz-codes "$recipe/phoneme-25hz-codes.toml" phonemes
step phoneme train phoneme-25hz "$recipe/phoneme-25hz.toml" phonemes --init "$out/phoneme-25hz-codes"
step phoneme-prior train phoneme-25hz-prior "$recipe/../vctk/prior.toml" phonemes --model "$out/phoneme-25hz"
step phoneme-evaluate evaluate phoneme-25hz phonemes phonemes --labels "$out/labels"
step phoneme-pack python "$recipe/pack.py" "$out/phoneme-25hz" phoneme-25hz "$out/phoneme-25hz-prior"

step report speechvq report "$out/convert-50hz" --out "$out/page" --data "$out/speech" --labels "$out/labels" --force
echo "$out/page/index.html"
