#!/usr/bin/env bash
# docs/results/few-pictures/run.sh PICTURES RUNS: 20 or 150 pictures (folders.py), three seeds, with
# what the recipe left fixed before and with what follows the number of pictures now.
set -euo pipefail
pictures=$1 runs=$2 count=$(basename "$1")
more=$([ "$count" = 20 ] && echo 60 || echo 20)
cd "$(dirname "$pictures")"
for epochs in 3 $more; do
    for seed in 0 1 2; do
        how="--recipe cifar10-small --model attention_nano --data folder:$count --epochs $epochs"
        how="$how --set seed=$seed --set training.test_every=$epochs --runs $runs"
        before="--set training.batch_size=128 --set training.precise_norm=0"
        name=$count-epochs-$epochs-seed-$seed
        minran train $how $before --name "before-$name"
        minran train $how --set training.precise_norm=1024 --name "now-$name"
        for kind in before now; do
            minran evaluate "$runs/$kind-$name"
        done
    done
done
