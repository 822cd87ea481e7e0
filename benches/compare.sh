#!/usr/bin/env bash
# Puts truenorth beside sha256sum over the same 10,000 manifests, in one run, with a warm cache. Prints milliseconds (the
# best of ROUNDS), the ratio to sha256sum, and peak memory. Needs a release build: cargo build --release.
#   benches/compare.sh [MANIFESTS] [ROUNDS]
set -euo pipefail
count=${1:-10000} rounds=${2:-15}
here=$(cd "$(dirname "$0")/.." && pwd)
truenorth=${TRUENORTH:-$here/target/release/truenorth}
work=$(mktemp -d)
trap 'kill "$sandbox" 2>/dev/null || true; rm -rf "$work"' EXIT

for ((i = 0; i < count; i++)); do
  folder=$work/manifests/project-$((i / 100))
  ((i % 100)) || mkdir -p "$folder"
  printf '%s\n' 'apiVersion: truenorth/v1' 'kind: ServiceDeployment' 'metadata:' "  projectId: project-$((i / 100))" \
    "  serviceId: service-$i" 'spec:' '  external:' "    imagePath: ghcr.io/acme/service-$i:1.0.$i" '    credentials: ghcr' \
    '  docker:' '    configType: customCommand' '    customCommand: node server.js --port 8080' >"$folder/service-$i.yaml"
done

"$truenorth" sandbox --listen 127.0.0.1:0 --limit 4000000000 >"$work/url" 2>/dev/null &
sandbox=$!
until [ -s "$work/url" ]; do sleep 0.05; done
export NORTHFLANK_API_URL NORTHFLANK_API_TOKEN=bench TRUENORTH_STATE_DIR=$work/state TRUENORTH_MANIFESTS=$work/manifests
NORTHFLANK_API_URL=$(cat "$work/url")
pass() { "$truenorth" --reconcile-once --no-adopt --log-level warn; }
echo "filling the ledger: $(pass | tail -n 1)"
[ "$("$truenorth" plan --exit-code >/dev/null; echo $?)" = 0 ] || { echo 'the ledger is not full'; exit 1; }

find "$work/manifests" -name '*.yaml' -print0 >"$work/files"
sums() { xargs -0 sha256sum <"$work/files"; }
validate() { "$truenorth" validate; }
plan() { "$truenorth" plan; }
once() { pass; }
declare -A least # the least time of all rounds, in hundredths of a millisecond
for ((round = 0; round < rounds; round++)); do
  # In turn, so that a busy moment of the machine is nobody's alone.
  for what in sums validate plan once; do
    from=$EPOCHREALTIME
    "$what" >/dev/null
    to=$EPOCHREALTIME
    took=$(((${to/./} - ${from/./}) / 10))
    if [[ -z ${least[$what]:-} || $took -lt ${least[$what]} ]]; then least[$what]=$took; fi
  done
done
base=${least[sums]}
for what in sums validate plan once; do
  took=${least[$what]}
  printf '%-9s %4d.%02d ms  %4d %% of sha256sum\n' "$what" $((took / 100)) $((took % 100)) $((took * 100 / base))
done
if [ -x /usr/bin/time ]; then
  for arguments in validate '--reconcile-once --log-level warn'; do
    # shellcheck disable=SC2086
    /usr/bin/time -f "%M KiB at the peak: $arguments" "$truenorth" $arguments >/dev/null
  done
fi
