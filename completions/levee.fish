# fish completion for levee
complete -c levee -n __fish_use_subcommand -a 'train plan probe doctor eval export generate inspect tokenize init report watch top'
complete -c levee -s c -l config -r
complete -c levee -l model -r
complete -c levee -l data -r
complete -c levee -l memory -r
complete -c levee -l reserve -r
complete -c levee -l fine-tune-type -r -a "lora dora full head"
complete -c levee -l num-layers -r
complete -c levee -l batch-size -r
complete -c levee -l micro-batch-size -r
complete -c levee -l iters -r
complete -c levee -l grad-accumulation-steps -r
complete -c levee -l learning-rate -r
complete -c levee -l max-seq-length -r
complete -c levee -l mask-prompt -d 'only answers count in the loss'
complete -c levee -l text-feature -r
complete -c levee -l prompt-feature -r
complete -c levee -l completion-feature -r
complete -c levee -l chat-feature -r
complete -c levee -l adapter-path -r
complete -c levee -l resume-adapter-file -r
complete -c levee -l rank -r
complete -c levee -l scale -r
complete -c levee -l dropout -r
complete -c levee -l keys -r
complete -c levee -l optimizer -r
complete -c levee -l betas -r
complete -c levee -l eps -r
complete -c levee -l weight-decay -r
complete -c levee -l bias-correction -r
complete -c levee -l max-grad-norm -r
complete -c levee -l grad-checkpoint -r
complete -c levee -l dtype -r
complete -c levee -l steps-per-report -r
complete -c levee -l steps-per-eval -r
complete -c levee -l val-batches -r
complete -c levee -l test-batches -r
complete -c levee -l save-every -r
complete -c levee -l keep-last -r
complete -c levee -l resume -r -F -a auto
complete -c levee -l deterministic -r
complete -c levee -l most-not-finite-steps -r
complete -c levee -l guard -r -a "off warn act"
complete -c levee -l on-pressure -r -a "shrink pause stop"
complete -c levee -l cool-down -r
complete -c levee -l yellow-at -r
complete -c levee -l orange-at -r
complete -c levee -l red-at -r
complete -c levee -l limit-data -d 'have the kernel refuse more memory'
complete -c levee -l cgroup -d 'run in a memory control group of its own' -r
complete -c levee -l tensorboard -d 'write event files for TensorBoard'
complete -c levee -l profile -d 'say where the time of the steps went'
complete -c levee -l inject -r
complete -c levee -l seed -r
complete -c levee -l threads -r
complete -c levee -l max-row-bytes -r
complete -c levee -l prompt -r
complete -c levee -l max-tokens -r
complete -c levee -l table -n '__fish_seen_subcommand_from plan'
complete -c levee -l explain -n '__fish_seen_subcommand_from plan'
complete -c levee -l curve -n '__fish_seen_subcommand_from plan' -r -F
complete -c levee -l json -n '__fish_seen_subcommand_from plan doctor'
complete -c levee -l calibrate -n '__fish_seen_subcommand_from doctor'
complete -c levee -l probe-file -n '__fish_seen_subcommand_from probe' -r -F
complete -c levee -l probe-steps -n '__fish_seen_subcommand_from probe' -r
complete -c levee -l add-generation-prompt -n '__fish_seen_subcommand_from tokenize'
complete -c levee -l no-special-tokens -n '__fish_seen_subcommand_from tokenize'
complete -c levee -l bos-token -n '__fish_seen_subcommand_from tokenize' -r
complete -c levee -l eos-token -n '__fish_seen_subcommand_from tokenize' -r
complete -c levee -l colour -n '__fish_seen_subcommand_from tokenize'
complete -c levee -l temp -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l top-p -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l min-p -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l top-k -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l repetition-penalty -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l repetition-context-size -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l chat -n '__fish_seen_subcommand_from generate'
complete -c levee -l system-prompt -n '__fish_seen_subcommand_from generate' -r
complete -c levee -l format -n '__fish_seen_subcommand_from export' -r -a "hf gguf mlx"
complete -c levee -l outtype -n '__fish_seen_subcommand_from export' -r -a "f16 bf16 f32 q8_0 q4_0"
complete -c levee -l save-path -n '__fish_seen_subcommand_from export' -r -F
complete -c levee -l adapter-only -n '__fish_seen_subcommand_from export'
complete -c levee -l print-config -n '__fish_seen_subcommand_from train'
complete -c levee -n '__fish_seen_subcommand_from train' -l quiet -d 'print nothing but errors'
complete -c levee -n '__fish_seen_subcommand_from train' -l web -d 'show the run on a page'
complete -c levee -n '__fish_seen_subcommand_from top' -l once -d 'print one frame'
complete -c levee -l train -d 'false, with --test: only test what is in --adapter-path'
complete -c levee -l test -d 'after training, the loss on the test split'
complete -c levee -l lr-schedule.name -r
complete -c levee -l lr-schedule.warmup -r
complete -c levee -l lr-schedule.warmup-init -r
complete -c levee -l lr-schedule.arguments -r
complete -c levee -n '__fish_seen_subcommand_from report' -l output -r -F -d 'the page'
complete -c levee -n '__fish_seen_subcommand_from watch' -l memory -r -d 'most the command may hold'
complete -c levee -n '__fish_seen_subcommand_from watch' -l device-memory -r -d 'most the command may have on the GPU'
complete -c levee -n '__fish_seen_subcommand_from watch' -l device -r -d 'number of the GPU that is watched'
complete -c levee -n '__fish_seen_subcommand_from watch' -l reserve -r -d 'memory left free for others'
complete -c levee -n '__fish_seen_subcommand_from watch' -l step-pattern -r -d 'lines of output that are steps'
complete -c levee -n '__fish_seen_subcommand_from watch' -l sample-every -r -d 'seconds that count as a step'
complete -c levee -n '__fish_seen_subcommand_from watch' -l log -r -F -d 'JSON lines'
complete -c levee -n '__fish_seen_subcommand_from watch' -l run-dir -r -F -d 'directory for top to show'
complete -c levee -n '__fish_seen_subcommand_from watch' -l tensorboard -d 'event files below --run-dir'
complete -c levee -n '__fish_seen_subcommand_from watch' -l guard -r -a "warn act" -d 'act or only warn'
complete -c levee -n '__fish_seen_subcommand_from watch' -l hook -r -d 'command run before the end'
complete -c levee -n '__fish_seen_subcommand_from watch' -l ask-signal -d 'SIGUSR1 before SIGTERM'
complete -c levee -n '__fish_seen_subcommand_from watch' -l grace -r -d 'seconds to answer'
complete -c levee -n '__fish_seen_subcommand_from watch' -l cool-down -r -d 'seconds of calm before it goes on'
complete -c levee -n '__fish_seen_subcommand_from watch' -l cgroup -r -a auto -d 'control group of its own'
complete -c levee -n '__fish_seen_subcommand_from watch' -l no-volunteer -d 'leave oom_score_adj'
complete -c levee -n '__fish_seen_subcommand_from watch' -l web -r -d 'show it on a page: ADDRESS:PORT, or auto'
complete -c levee -n '__fish_seen_subcommand_from watch' -l quiet -d 'leaks and actions only'
