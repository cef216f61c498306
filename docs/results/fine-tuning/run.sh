#!/usr/bin/env bash
# 200 pictures of five classes: from weights of five other classes, and from scratch; three seeds.
#
#   docs/results/fine-tuning/run.sh KIND PICTURES RUNS
#
# KIND: first, fine-tuned, frozen, scratch-RATE-EPOCHS; PICTURES: what folders.py wrote.
# `first` makes the weights that `fine-tuned` and `frozen` start from.
set -euo pipefail
kind=$1 pictures=$2 runs=$3
common="--recipe quickstart --runs $runs --set augment.pad_crop_flip=true --set data.test_count=1000"
if [ "$kind" = first ]; then
  exec minran train $common --name first --data "folder:$pictures/first" --epochs 6 \
    --set data.train_count=10000 --set training.test_every=3
fi
rate=0.05 epochs=20 more=""
case $kind in
  fine-tuned) more="--init $runs/first" ;;
  frozen) more="--init $runs/first --set training.freeze=['stem','stages.0']" ;;
  scratch-*) IFS=- read -r _ rate epochs <<< "$kind" ;;
esac
for seed in 0 1 2; do
  minran train $common --name "$kind-seed-$seed" --data "folder:$pictures/second" \
    --epochs "$epochs" --set "training.test_every=$epochs" --set training.batch_size=40 \
    --set training.log_every=5 --set "optimizer.lr=$rate" --set "seed=$seed" $more
done
