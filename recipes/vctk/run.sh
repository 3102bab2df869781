#!/usr/bin/env bash
# The experiments of van den Oord et al. 2017, section 4.3, from a corpus to a page of results, in ten stages:
#   0 get  1 prepare  2 align  3 train a codec  4 reconstruct, convert  5 phonemes  6 prior  7 sample  8 evaluate  9 report
#
#   recipes/vctk/run.sh [--stage A] [--stop B] [--data DIR] [--out DIR] [--config paper|small] [--demo]
#
#   --stage, --stop   the first and the last stage to run (default: 0 and 9)
#   --data DIR        VCTK, or any folder with a folder for each speaker (default: VCTK is downloaded into OUT/corpus)
#   --out DIR         where everything is put (default: runs/vctk, with --demo runs/demo)
#   --config          paper: the paper's models, for GPUs; small: models that two CPU cores train in two hours (default)
#   --demo            a synthetic corpus and a few minutes of training, to check that every stage works
#   --unseen A,B      speakers held out of all training (default: one in twenty, by a hash of the name)
#   LAUNCH="torchrun --nproc-per-node 8"    how to start what runs on many GPUs; DEVICE=cuda evaluates on them
#   STEPS="600 300 100 400"  steps of the demo's trainings (codes, voice, each encoder of phonemes, prior); SENTENCES=40 in its corpus
#
# A step that is done is not repeated unless its command, its configuration or a step before it has changed; an
# interrupted training resumes where it stopped.
set -euo pipefail
{ # bash reads a group whole before it runs it, so the file may be edited meanwhile

recipe=$(cd "$(dirname "$0")" && pwd)
first=0 last=9 corpus="" out="" config=small demo="" unseen=""
while (($#)); do
    case $1 in
        --demo) demo=yes && shift && continue ;;
        --stage | --stop | --data | --out | --config | --unseen) [[ $# -gt 1 ]] || { echo "run.sh: $1 needs a value" >&2 && exit 2; } ;;
        -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" && exit ;;
        *) echo "run.sh: unknown option $1 (see --help)" >&2 && exit 2 ;;
    esac
    case $1 in
        --stage) first=$2 ;;
        --stop) last=$2 ;;
        --data) corpus=$2 ;;
        --out) out=$2 ;;
        --config) config=$2 ;;
        --unseen) unseen=$2 ;;
    esac
    shift 2
done
[[ $first =~ ^[0-9]$ && $last =~ ^[0-9]$ ]] || { echo "run.sh: stages are 0 to 9" >&2 && exit 2; }
((first <= last)) || { echo "run.sh: --stage $first is after --stop $last" >&2 && exit 2; }
[[ $config == paper || $config == small ]] || { echo "run.sh: --config is paper or small" >&2 && exit 2; }
[[ -z $corpus || -d $corpus ]] || { echo "run.sh: $corpus: no such folder" >&2 && exit 2; }
[[ -z $demo || -z $corpus ]] || { echo "run.sh: --demo makes its own corpus; leave out --data" >&2 && exit 2; }
out=${out:-runs/${demo:+demo}}
[[ $out != runs/ ]] || out=runs/vctk
[[ ! $corpus -ef $out ]] || { echo "run.sh: $out holds the recordings; --out names another folder" >&2 && exit 2; }
data=$out/data labels=$out/labels
source "$recipe/../lib.sh"

few() { # N: for the demo, the option that sets the Nth number of STEPS
    read -ra steps <<< "${STEPS:-600 300 100 400}"
    [[ -z $demo ]] || printf -- '--set\ntrain.steps=%s\n' "${steps[$1]}"
}

short() { # for the demo, whose held-out speakers have one sentence each
    [[ -z $demo ]] || printf -- '--set\ntrain.crop=25600\n'
}

voice=$out/voice phonemes=$out/phonemes codes=$out/voice prior=$out/prior speaker=p225 kind=vctk
[[ -z $demo ]] || speaker=e01 kind=demo

stage=0
if [[ $demo ]]; then
    corpus=$out/corpus
    step get speechvq get demo "$corpus" --count "${SENTENCES:-40}"
    unseen=${unseen:-e11,e12}
elif [[ -z $corpus ]]; then
    corpus=$out/corpus/VCTK-Corpus-0.92
    step get speechvq get vctk "$out/corpus"
elif [[ ! -d $corpus/wav48_silence_trimmed && ! -d $corpus/wav48 ]]; then
    kind=folder
fi

stage=1
step prepare speechvq prepare $kind "$corpus" "$data" --unseen-speakers "$unseen"

stage=2
step align speechvq align "$data" "$labels"

stage=3
if [[ $config == paper ]]; then
    step train-voice train "$voice" "$recipe/paper-64x.toml"
else
    step train-codes train "$out/codes" "$recipe/small-mel.toml" $(few 0)
    step train-voice train "$voice" "$recipe/small.toml" --init "$out/codes" $(few 1)
fi

stage=4
pairs=(--count 3)
[[ -z $demo ]] || pairs=(--count 1 --speakers e01,e02,e03)
step convert evaluate "$voice" conversion --wavs "$voice/wavs" "${pairs[@]}"
[[ $config == paper ]] || step convert-codes evaluate "$out/codes" conversion --wavs "$out/codes/wavs" "${pairs[@]}"

stage=5
if [[ $config == paper ]]; then
    step train-phonemes train "$phonemes" "$recipe/paper-640x.toml" $(few 2)
else
    step train-cpc train "$phonemes-cpc" "$recipe/cpc.toml" $(few 2) $(short)
    step targets speechvq targets "$phonemes-cpc" --data "$data" --out "$phonemes-targets.npz" --force
    step train-masked train "$phonemes-masked" "$recipe/masked.toml" --targets "$phonemes-targets.npz" $(few 2) $(short)
    step codebook speechvq codebook "$phonemes-masked" --data "$data" --out "$phonemes" --layers 8 --rounds 0 --force
fi
step phonemes evaluate "$phonemes" phonemes --labels "$labels" --figures "$phonemes"
step leakage evaluate "$phonemes" leakage

stage=6
if [[ $config == paper ]]; then
    codes=$out/codes-128x
    step train-128x train "$codes" "$recipe/paper-128x.toml"
fi
step train-prior train "$prior" "$recipe/prior.toml" --model "$codes" $(few 3)

stage=7
step sample speechvq sample "$prior/samples/sample.wav" --model "$codes" --prior "$prior" --speaker $speaker \
    --count 4 --top-p 0.95 --force "${device[@]}"

stage=8
step reconstruction evaluate "$voice" reconstruction
step rate evaluate "$codes" rate --prior "$prior"
step samples evaluate "$codes" samples --prior "$prior" --labels "$labels"

stage=9
runs=("$voice" "$phonemes" "$prior")
[[ $config == small ]] && runs+=("$out/codes") || runs+=("$codes")
step report speechvq report "${runs[@]}" --out "$out/page" --data "$data" --labels "$labels" --force
((last < 9)) || echo "$out/page/index.html"
exit
}
