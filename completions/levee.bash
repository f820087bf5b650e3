# bash completion for levee
# After watch's own options comes a command with completions of its own.
_levee_watch() {
    local at=2 word
    while [ $at -lt "$COMP_CWORD" ]; do
        word=${COMP_WORDS[at]}
        case $word in
        --) at=$((at + 1)); break ;;
        --ask-signal | --no-volunteer | --quiet | --*=*) at=$((at + 1)) ;;
        --*) at=$((at + 2)) ;;
        *) break ;;
        esac
    done
    if [ $at -gt "$COMP_CWORD" ]; then
        case ${COMP_WORDS[COMP_CWORD-1]} in
        --guard) COMPREPLY=($(compgen -W "warn act" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
        --cgroup) COMPREPLY=($(compgen -W "auto" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
        *) COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")) ;;
        esac
    elif [ $at -eq "$COMP_CWORD" ]; then
        case ${COMP_WORDS[COMP_CWORD]} in
        -*) COMPREPLY=($(compgen -W "--memory --reserve --device-memory --device --step-pattern --sample-every --log --run-dir --tensorboard --web --guard --hook --ask-signal --grace --cool-down --cgroup --no-volunteer --quiet --help" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
        *) COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")) ;;
        esac
    elif declare -F _command_offset >/dev/null; then
        _command_offset $at
    else
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
    fi
}
_levee() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    if [ "${COMP_WORDS[1]}" = report ] && [ "$COMP_CWORD" -gt 1 ]; then
        COMPREPLY=($(compgen -d -- "$word"))
        case $before in --output) COMPREPLY=($(compgen -f -- "$word")) ;; esac
        case $word in -*) COMPREPLY=($(compgen -W "--output" -- "$word")) ;; esac
        return
    fi
    if [ "${COMP_WORDS[1]}" = watch ] && [ "$COMP_CWORD" -gt 1 ]; then _levee_watch; return; fi
    if [ "${COMP_WORDS[1]}" = top ] && [ "$COMP_CWORD" -gt 1 ]; then
        case $word in
        -*) COMPREPLY=($(compgen -W "--once --help" -- "$word")) ;;
        *) COMPREPLY=($(compgen -d -- "$word")) ;;
        esac
        return
    fi
    case $before in
    --model | --data | --adapter-path | --resume-adapter-file | --save-path | --probe-file | --curve | -c | --config) COMPREPLY=($(compgen -f -- "$word")) ;;
    --fine-tune-type) COMPREPLY=($(compgen -W "lora dora full head" -- "$word")) ;;
    --grad-checkpoint) COMPREPLY=($(compgen -W "auto off all" -- "$word")) ;;
    --format) COMPREPLY=($(compgen -W "hf gguf mlx" -- "$word")) ;;
    --outtype) COMPREPLY=($(compgen -W "f16 bf16 f32 q8_0 q4_0" -- "$word")) ;;
    --dtype) COMPREPLY=($(compgen -W "auto f32 bf16" -- "$word")) ;;
    *)
        if [ "$COMP_CWORD" = 1 ]; then
            COMPREPLY=($(compgen -W "train plan probe doctor eval export generate inspect tokenize init report watch top --help --version" -- "$word"))
        else
            COMPREPLY=($(compgen -W "--model --data --memory --reserve --fine-tune-type --num-layers --batch-size --iters --grad-accumulation-steps --learning-rate --max-seq-length --adapter-path --resume-adapter-file --rank --scale --dropout --keys --optimizer --betas --eps --weight-decay --bias-correction --max-grad-norm --grad-checkpoint --dtype --steps-per-report --steps-per-eval --val-batches --test-batches --save-every --keep-last --resume --deterministic --most-not-finite-steps --guard --on-pressure --cool-down --yellow-at --orange-at --red-at --limit-data --cgroup --profile --tensorboard --inject --seed --threads --max-row-bytes --prompt --max-tokens --table --explain --curve --json --calibrate --lr-schedule.name --lr-schedule.warmup --lr-schedule.warmup-init --lr-schedule.arguments --mask-prompt --text-feature --prompt-feature --completion-feature --chat-feature --add-generation-prompt --no-special-tokens --bos-token --eos-token --colour --temp --top-p --min-p --top-k --repetition-penalty --repetition-context-size --chat --system-prompt --format --outtype --save-path --adapter-only --print-config --quiet --web --train --test --micro-batch-size --probe-file --probe-steps --config" -- "$word"))
        fi
        ;;
    esac
}
complete -o filenames -F _levee levee
