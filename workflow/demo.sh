#!/usr/bin/env bash
# A small season, all the way: cards -> report. Called by `make demo`; $1 is the number of cores.
set -euo pipefail
cores=${1:-2}
season=demo

if [ ! -f "$season/season.json" ]; then
  echo "1/3  simulating recorder cards: 3 recorders, 2 days ..."
  rm -rf "$season/making"
  dawnchorus simulate "$season/making" --recorders 3 --days 2 --recordings 8 --seconds 165 \
    --faults --workers "$cores"
  for part in cards deployments.csv truth truth.parquet; do
    rm -rf "${season:?}/$part"
    mv "$season/making/$part" "$season/$part"
  done
  rm -rf "$season/making"
  echo '{"simulated": true}' > "$season/season.json"
fi

echo "2/3  running the workflow ..."
snakemake --profile profiles/local --configfile config/demo.yaml --cores "$cores"

echo "3/3  looking at it as a user would ..."
dawnchorus export "$season/tables" --config config/demo.yaml --what detections
dawnchorus export "$season/tables" --config config/demo.yaml --what boxes --experiment dino_nano
dawnchorus explore "$season/results" --config config/demo.yaml --check

echo
echo "The report:    $PWD/$season/results/report.html"
echo "The explorer:  .venv/bin/dawnchorus explore $season/results --config config/demo.yaml"
