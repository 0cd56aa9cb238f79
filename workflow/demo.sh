#!/usr/bin/env bash
# A small season, all the way: cards -> report. Called by `make demo`; $1 is the number of cores.
set -euo pipefail
cores=${1:-2}
season=demo

if [ ! -f "$season/.simulated" ]; then
  echo "1/3  simulating recorder cards: 3 recorders, 2 days, 2 hours of sound ..."
  rm -rf "$season/cards" "$season/truth"
  dawnchorus simulate "$season" --recorders 3 --days 2 --recordings 8 --seconds 150 \
    --faults --workers "$cores"
  touch "$season/.simulated"
fi

echo "2/3  running the workflow ..."
# Without a GPU two processes of one thread train faster than one of two.
snakemake --profile profiles/local --configfile config/demo.yaml --cores "$cores" --quiet rules \
  --set-resources "train_experiment:processes=$((cores > 1 ? 2 : 1))"

echo "3/3  looking at it as a user would ..."
dawnchorus export "$season/tables" --config config/demo.yaml --what detections
dawnchorus export "$season/tables" --config config/demo.yaml --what boxes --experiment vicreg_micro
dawnchorus explore "$season/results" --config config/demo.yaml --experiment vicreg_micro --check

# Snakemake notes what each job took: the third column is the largest resident memory in MB.
largest=$(find "$season/results/benchmarks" -name '*.tsv' -exec awk 'FNR == 2 { print $3 }' {} + | sort -n | tail -1)
echo
echo "$((SECONDS / 60)) min $((SECONDS % 60)) s on $cores cores; the largest job held $(awk -v mb="$largest" 'BEGIN { printf "%.1f", mb / 1000 }') GB"
echo "Hear and label:  .venv/bin/dawnchorus explore $season/results --config config/demo.yaml --experiment vicreg_micro"
echo "The report:      $PWD/$season/results/report.html"
