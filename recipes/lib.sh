# What the recipes share: steps that are done once, and trainings that go on where they stopped.
#
# A script sources this file after it has set
#   recipe   the script's own folder
#   out      where everything is put; out/done remembers what is done
# and before a training or an evaluation
#   data     the prepared corpus (`speechvq prepare`)
# It may set stage, first and last: a step of a stage before `first` or after `last` is left out.
#
# For the user of every recipe:
#   LAUNCH="torchrun --nproc-per-node 8"   how to start what runs on many GPUs
#   DEVICE=cuda                            where to evaluate (default: cpu)

command -v speechvq > /dev/null || { echo "${0##*/}: speechvq is not installed here (PATH=.venv/bin:\$PATH)" >&2 && exit 2; }
mkdir -p "$out/done"
device=(--device "${DEVICE:-cpu}")
stage=${stage:-} first=${first:-0} last=${last:-9}
key="" # of a step: a hash of its command, of the configurations that it names, and of the key of the step before it

step() { # NAME COMMAND...: run the command, unless it was done with this key
    local name=$1 files=() word
    shift
    for word in "$@"; do [[ $word != *.toml ]] || files+=("$word"); done
    key=$({ printf '%s\0' "$key" "${@//"$recipe"/}" && cat /dev/null ${files[@]+"${files[@]}"}; } | sha256sum | cut -c1-16)
    ((first <= stage && stage <= last)) || return 0
    [[ $(cat "$out/done/$name" 2>/dev/null) != "$key" ]] || { echo "${stage:+stage $stage: }$name is done" && return 0; }
    echo "${stage:+stage $stage: }$name"
    "$@" || left_out $? "$@"
    echo "$key" > "$out/done/$name"
}

left_out() { # CODE COMMAND...: whether the command ended because it left out what cannot be aligned, and listed that
    [[ $1 -eq 1 && $2 == speechvq && $3 == align && -s $5/unaligned.tsv ]]
}

launched() { # COMMAND...: run a speechvq command, on as many processes as LAUNCH says
    if [[ ${LAUNCH:-} ]]; then $LAUNCH -m speechvq.cli "$@"; else speechvq "$@"; fi
}

train() { # RUN CONFIG...: train, or resume the training if the run was begun by this very step
    local run=$1 how=--force
    [[ ! -f $run/last.safetensors || $(cat "$out/done/begun-${run##*/}" 2>/dev/null) != "$key" ]] || how=--resume
    echo "$key" > "$out/done/begun-${run##*/}"
    launched train "${@:2}" --data "$data" --out "$run" $how
}

evaluate() { # RUN QUESTION...: evaluate a run and keep the result in RUN/QUESTION.json
    launched evaluate "$2" --model "$1" --data "$data" --save "$1/$2.json" "${device[@]}" "${@:3}"
}
