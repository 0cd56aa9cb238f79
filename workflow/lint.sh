#!/usr/bin/env bash
# Snakemake's linter over the workflow, on a season of tiny files: it wants one that parses.
set -euo pipefail
season=$(mktemp -d)
trap 'rm -rf "$season"' EXIT
dawnchorus simulate "$season" --recorders 1 --days 1 --recordings 1 --tiny > "$season/log" 2>&1 \
  || { cat "$season/log" >&2; exit 1; }
snakemake --lint --config "results=$season/results" "audio={root: $season/cards}"
