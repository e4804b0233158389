"""Real programs for benchmarks: processes that end for certain, a Prometheus, a vLLM, and a client that keeps time."""
