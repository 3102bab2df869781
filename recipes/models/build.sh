#!/usr/bin/env bash
# The packaged models, from speech to speechvq/models: about three hours on two cores.
#
#   recipes/models/build.sh DATA OUT
#
# DATA holds the folders vctk, arctic and librispeech (corpus.py). A step that is done is not repeated unless its command,
# its configuration or a step before it has changed; an interrupted training resumes where it stopped.
set -euo pipefail
{ # bash reads a group whole before it runs it, so the file may be edited meanwhile

recipe=$(cd "$(dirname "$0")" && pwd)
[[ $# -eq 2 && -d $1 ]] || { echo "usage: build.sh DATA OUT" >&2 && exit 2; }
sources=$1 out=$2 packaged=$recipe/../../speechvq/models
source "$recipe/../lib.sh"
convert=$out/convert-50hz phoneme=$out/phoneme-25hz

step corpus python "$recipe/corpus.py" "$sources" "$out/corpus"
corpus_key=$key

# Held out: two minutes of p228, to adapt a model to, and ten seconds each of the others.
unseen=p229,p237,p253,p264,p282,p310,p347
data=$out/speech
step prepare speechvq prepare folder "$out/corpus" "$data" --unseen-speakers "p228,$unseen"
step convert-codes train "$convert-codes" "$recipe/convert-50hz-codes.toml"
step convert-voice train "$convert-voice" "$recipe/convert-50hz.toml" --init "$convert-codes" \
    --set model.jitter=0.1 --set 'init.parts=["encoder", "bottleneck"]' --set train.steps=2500 --set train.learning_rate=1e-3
step convert train "$convert" "$recipe/convert-50hz.toml" --init "$convert-voice"
step convert-evaluate evaluate "$convert" conversion --count 3 --wavs "$convert/wavs"
step convert-pack python "$recipe/pack.py" "$convert" "$packaged/convert-50hz"
convert_key=$key

# Phone accuracy is scored on half an hour of speakers that neither the codes nor the mapping to phones have seen.
key=$corpus_key # the steps above are not before these
data=$out/phonemes labels=$out/labels
step prepare-phonemes speechvq prepare folder "$out/corpus" "$data" --unseen-speakers "27,p226,$unseen"
step align speechvq align "$data" "$labels"
step phoneme-codes train "$phoneme-codes" "$recipe/phoneme-25hz-codes.toml"
step phoneme train "$phoneme" "$recipe/phoneme-25hz.toml" --init "$phoneme-codes"
step phoneme-prior train "$phoneme-prior" "$recipe/../vctk/prior.toml" --model "$phoneme"
step phoneme-evaluate evaluate "$phoneme" phonemes --labels "$labels"
step phoneme-pack python "$recipe/pack.py" "$phoneme" "$packaged/phoneme-25hz" "$phoneme-prior"

key+=$convert_key
step report speechvq report "$convert" --out "$out/page" --data "$out/speech" --labels "$labels" --force
echo "$out/page/index.html"
exit
}
