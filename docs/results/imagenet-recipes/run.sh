#!/bin/bash
# run.sh PICTURES RUNS [NETWORK...]: 120 steps of each ImageNet recipe, its tests at 224 and 320, and the memory of both.
set -euo pipefail
pictures=$1 runs=$2
shift 2
cd "$(dirname "$0")"
peak() { # run minran; print the most memory it had, in GB
    python - "$@" << 'END'
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "minran", *sys.argv[1:]], check=True)
print(f"most memory of the process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6:.2f} GB")
END
}
for network in "${@:-attention56 attentionnext56 attention92}"; do
    for name in $network; do
        {
            peak train --quiet --recipe "imagenet-$name" --data "folder:$pictures" --runs "$runs" --name "$name" \
                --set schedule.kind=one_cycle --set optimizer.lr=0.004 --set training.batch_size=16 \
                --set training.iterations=120 --set training.log_every=1 --set training.test_every=100
            peak evaluate "$runs/$name"
            peak evaluate "$runs/$name" --size 320
            python -m minran summary "$name" --train --batch 16
        } 2>&1 | tee "$name.txt"
        cp "$runs/$name/history.jsonl" "$name.jsonl"
        cp "$runs/$name/environment.json" "$name.environment.json"
    done
done
