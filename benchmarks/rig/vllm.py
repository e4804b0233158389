"""A real vLLM with a tiny Llama that knows nothing: its words are noise, its timing and its metrics are real.

The model is three JSON files and weights drawn at random by vLLM itself; every byte of a prompt is one token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.processes import free_port, serving

MODEL = "tiny-llama"
MAX_MODEL_LEN = 2048

_VOCABULARY = 512
_END = _VOCABULARY - 1
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
_ENV = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "0",  # one core to compute on: beside a GPU, too, the API server has others
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def write_model(folder: Path) -> None:
    """What vLLM asks of a model's folder when it draws the weights itself."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": _VOCABULARY, "hidden_size": 256,
        "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": MAX_MODEL_LEN, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "torch_dtype": "bfloat16", "eos_token_id": _END, "bos_token_id": _END, "tie_word_embeddings": False,
    }  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words = {word: number for number, word in enumerate([*_byte_letters(), *_fillers()])}
    end = {"id": _END, "content": "<end>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}  # fmt: skip
    tokenizer: dict[str, object] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "vocab": words, "merges": []},
    }  # fmt: skip
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "bos_token": "<end>",
        "model_max_length": MAX_MODEL_LEN, "chat_template": _CHAT_TEMPLATE,
    }  # fmt: skip
    for name, document in (("config", config), ("tokenizer", tokenizer), ("tokenizer_config", about)):
        (folder / f"{name}.json").write_text(json.dumps(document))


def _byte_letters() -> list[str]:
    """Byte-level BPE writes a byte as a letter: its own where that is visible, else one from U+0100 on."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte if byte in visible else next(shifted)) for byte in range(256)]


def _fillers() -> list[str]:
    """Words that no merge leads to: only the model says them."""
    return [f"w{number}" for number in range(256, _END)]


@contextmanager
def vllm(python: Path, folder: Path) -> Iterator[str]:
    """The address of its OpenAI server. Raises SystemExit when it does not start."""
    model = folder / MODEL
    model.mkdir()
    write_model(model)
    port = free_port()
    command: list[str | Path] = [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", MODEL,
        "--load-format", "dummy", "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16",
        "--max-model-len", str(MAX_MODEL_LEN), "--max-num-batched-tokens", str(MAX_MODEL_LEN),
        "--max-num-seqs", "64", "--enforce-eager",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/health", folder / "vllm.log", patience_s=300, env=_ENV):
        yield url
