#!/usr/bin/env bash
# The quickstart's recipe, and the same with one setting changed; one thread, one after the other.
set -euo pipefail
export OPENBLAS_NUM_THREADS=1 MINRAN_NUM_THREADS=1
for run in residual: naive:learning=naive no_mask:mask=none channel:attention=channel spatial:attention=spatial; do
  change=()
  [ "${run#*:}" ] && change=(--set "model.options.${run#*:}")
  minran train --recipe quickstart "${change[@]}" --name "${run%%:*}" --quiet
done
