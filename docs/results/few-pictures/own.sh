#!/usr/bin/env bash
# docs/results/few-pictures/own.sh FOLDER RUNS: the how-to's own command on FOLDER/20, /150 and /2000
# (folders.py), three seeds each; tested after every epoch as the recipe says.
set -euo pipefail
cd "$1"
for count in 20 150 2000; do
    for seed in 0 1 2; do
        name=own-$count-seed-$seed
        minran train --recipe cifar10-small --data "folder:$count" --set "seed=$seed" --name "$name" --runs "$2"
    done
done
