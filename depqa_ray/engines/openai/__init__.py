"""Any server with OpenAI's chat completions: OpenAI's own, or vLLM, SGLang, llama.cpp, ``transformers serve``, ..."""
