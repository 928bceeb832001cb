#!/usr/bin/env bash
# Run all engine checks that need a GPU: contract tests, --verify and the benchmark.
#
#   OUT=results cluster/gpu_bench.sh MODEL_SHAPE DATASET [PYTHON_WITH_VLLM]
#
# MODEL_SHAPE is a folder with a model's config.json and tokenizer (weights are drawn at random), DATASET a SQuAD file or
# "embedded". Results and logs go to $OUT. If a part fails, the others still run; the exit code is that of the first
# failure. Needs the package with its test extra. PASSAGES, REPEATS and VERIFY change the numbers.
set -uo pipefail

if [ $# -lt 2 ] || [ -z "${OUT:-}" ]; then
  echo "usage: OUT=FOLDER $0 MODEL_SHAPE DATASET [PYTHON_WITH_VLLM]" >&2
  exit 2
fi
shape=$1 dataset=$2 vllm_python=${3:-}
mkdir -p "$OUT"
failed=0

part() { # NAME COMMAND...: run it, log its output, remember the first failure
  local name=$1 code
  shift
  echo "== $name: $*" | tee "$OUT/$name.log"
  "$@" 2>&1 | tee -a "$OUT/$name.log"
  code=${PIPESTATUS[0]}
  echo "== $name ended with $code" | tee -a "$OUT/$name.log"
  [ "$failed" -ne 0 ] || failed=$code
}

engines="shared_prefix,transformers:batch=64,transformers:batch=256,one_by_one:passages=2"
vllm_flags=()
if [ -n "$vllm_python" ]; then
  engines="$engines,vllm"
  vllm_flags=(--vllm-python "$vllm_python")
fi
shaped=(python -m depqa_ray bench engine --dataset "$dataset" --random-weights "$shape" --min-questions 5 --max-questions 5)

part gpu python -c "import torch; print(torch.__version__, torch.cuda.get_device_name())"
part contract python -m pytest -q tests/engines
part verify-embedded python -m depqa_ray bench engine --dataset embedded --model-name embedded --context-count 0 \
  --engines shared_prefix,transformers:batch=16 --lengths real --dtype float32 --verify "${VERIFY:-100}"
part verify "${shaped[@]}" --engines shared_prefix --dtype float32 --verify "${VERIFY:-40}"
part bench "${shaped[@]}" --context-count "${PASSAGES:-64}" --max-new-tokens 24 --repeats "${REPEATS:-3}" \
  --engines "$engines" "${vllm_flags[@]}" --gpu-memory-utilization 0.2 \
  --json-out "$OUT/bench.json" --markdown-out "$OUT/bench.md"

exit "$failed"
