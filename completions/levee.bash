# bash completion for levee
_levee() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    case $before in
    --model | --data | --adapter-path | --resume-adapter-file | -c | --config) COMPREPLY=($(compgen -f -- "$word")) ;;
    --fine-tune-type) COMPREPLY=($(compgen -W "lora full head" -- "$word")) ;;
    --grad-checkpoint) COMPREPLY=($(compgen -W "auto off all" -- "$word")) ;;
    --dtype) COMPREPLY=($(compgen -W "auto f32 bf16" -- "$word")) ;;
    *)
        if [ "$COMP_CWORD" = 1 ]; then
            COMPREPLY=($(compgen -W "train eval generate init --help --version" -- "$word"))
        else
            COMPREPLY=($(compgen -W "--model --data --memory --fine-tune-type --num-layers --batch-size --iters --grad-accumulation-steps --learning-rate --max-seq-length --adapter-path --resume-adapter-file --rank --scale --dropout --keys --optimizer --betas --eps --weight-decay --bias-correction --max-grad-norm --grad-checkpoint --dtype --steps-per-report --steps-per-eval --val-batches --test-batches --save-every --seed --threads --max-row-bytes --prompt --max-tokens --lr-schedule.name --lr-schedule.warmup --lr-schedule.warmup-init --lr-schedule.arguments --config" -- "$word"))
        fi
        ;;
    esac
}
complete -o filenames -F _levee levee
