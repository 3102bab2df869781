#!/usr/bin/env bash
# The packaged models, from speech to speechvq/models: about five hours on two cores.
#
#   recipes/models/build.sh DATA OUT
#
# DATA holds the folders vctk, arctic, librispeech, librispeech-dev-clean and speechocean762 (corpus.py). A step that is done is not repeated unless its command,
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

# The codes of convert-50hz are learned from text, with the speech of 379 speakers; its voices are those with minutes of speech here.
others=0001,0056,0114,0482,0981,1061,1203,1408,1503,2061,2251,2450,3002,3075,5017,5424,6902,9034,9604,9617,9633,1272,1988,2277,2902
all=$out/all-speech
step corpus-all python "$recipe/corpus.py" "$sources" "$out/corpus-all" arctic librispeech librispeech-dev-clean speechocean762
step prepare-all speechvq prepare folder "$out/corpus-all" "$all" --unseen-speakers "27,p226,p228,$unseen,$others"
step align-all speechvq align "$all" "$out/labels-all"
data=$all
step convert-encoder train "$out/convert-encoder" "$recipe/convert-50hz-encoder.toml" --labels "$out/labels-all"
step convert-codes speechvq codebook "$out/convert-encoder" --data "$all" --out "$out/convert-codes" --codes 4096 --stride 1 \
    --layers 8 --posteriors 20 --quiet 0.15 --rounds 0 --dim 64 --force
data=$out/speech
step convert train "$convert" "$recipe/convert-50hz.toml" --init "$out/convert-codes"
step convert-prior train "$out/convert-prior" "$recipe/../vctk/prior.toml" --model "$convert" --set train.steps=2000
step convert-evaluate evaluate "$convert" conversion --count 3 --wavs "$convert/wavs"
data=$all
step convert-phones evaluate "$convert" phonemes --labels "$out/labels-all" --table "$convert/phones.tsv"
data=$out/speech
step convert-pack python "$recipe/pack.py" "$convert" "$packaged/convert-50hz" "$out/convert-prior"
# The sentence with which its voices introduce themselves in `speechvq serve`.
step convert-sample speechvq encode "$sources/arctic/slt/arctic_a0009.opus" "$packaged/convert-50hz/sample.svq" \
    --model "$packaged/convert-50hz" --force
convert_key=$key

# Phone accuracy is scored on half an hour of speakers that neither the codes nor the mapping to phones have seen.
key=$corpus_key # the steps above are not before these
data=$out/phonemes labels=$out/labels
step prepare-phonemes speechvq prepare folder "$out/corpus" "$data" --unseen-speakers "27,p226,$unseen"
step align speechvq align "$data" "$labels"
step phoneme-cpc train "$phoneme-cpc" "$recipe/../vctk/cpc.toml" --set train.steps=600
step phoneme-targets speechvq targets "$phoneme-cpc" --data "$data" --out "$phoneme-targets.npz" --layers 0,3,6 --frames 120000 --force
step phoneme-masked train "$phoneme-masked" "$recipe/../vctk/masked.toml" --targets "$phoneme-targets.npz"
step phoneme-codes speechvq codebook "$phoneme-masked" --data "$data" --out "$phoneme-codes" --codes 128 --layers 8 --rounds 0 \
    --quiet 0.05 --force
step phoneme train "$phoneme" "$recipe/phoneme-25hz.toml" --init "$phoneme-codes"
step phoneme-prior train "$phoneme-prior" "$recipe/../vctk/prior.toml" --model "$phoneme" \
    --set prior.wavenet.residual=80 --set prior.wavenet.gate=80 --set prior.wavenet.skip=80
step phoneme-evaluate evaluate "$phoneme" phonemes --labels "$labels" --table "$phoneme/phones.tsv"
step phoneme-pack python "$recipe/pack.py" "$phoneme" "$packaged/phoneme-25hz" "$phoneme-prior"

key+=$convert_key
step report speechvq report "$convert" --out "$out/page" --data "$out/speech" --labels "$labels" --force
echo "$out/page/index.html"
exit
}
