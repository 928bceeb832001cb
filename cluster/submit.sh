#!/usr/bin/env bash
# Submit a depqa-ray command to a running Ray cluster as a job, and follow its output.
#
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 cluster/submit.sh run --context-count 1000 --run-dir /shared/run1
#
# The exit code is the job's. Arguments are those of `depqa-ray`, unchanged.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: $0 COMMAND [FLAG ...], as for depqa-ray" >&2
  exit 2
fi

export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
exec ray job submit --log-style record -- python -m depqa_ray "$@"
