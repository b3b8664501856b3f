"""A GGUF file as a folder of safetensors, once: `python -m models.bases.convert GGUF OUT [float32|bfloat16|float16]`.

`transformers` reads a GGUF file by computing every weight back from its few bits, each time that it is opened, and vLLM
and PEFT want safetensors. What comes out is as exact as the quantised file was, and no more: a report on such a model
says from how many bits it was dequantised. Needs the package `gguf`.
"""

import importlib.util
import sys
from pathlib import Path

from perseid.errors import UserError

USAGE = "expected: python -m models.bases.convert GGUF OUT [float32|bfloat16|float16]"


def convert(gguf: Path, out: Path, dtype: str = "float32") -> Path:
    """Write config, tokenizer, generation config and weights of the file `gguf` into the new folder `out`.

    Raises `UserError` where there is no such file, `out` is there already, or `transformers` does not read it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not gguf.is_file():
        raise UserError(gguf, "GGUF", "expected a file, found none")
    if out.exists():
        raise UserError(out, "OUT", "exists already; expected a new folder")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(gguf, "GGUF", "expected the package gguf to read it: pip install gguf")
    where = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=getattr(torch, dtype), **where)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(gguf.parent, **where), dtype=read.dtype)
    except (ValueError, KeyError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(gguf, "GGUF", f"expected a causal language model that transformers reads: {reason}") from error
    model.load_state_dict(read.state_dict())  # a model of its own: what was read is marked as quantised
    model.generation_config = read.generation_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def main(arguments: list[str]) -> int:
    dtypes = ("float32", "bfloat16", "float16")
    if len(arguments) not in (2, 3) or (arguments[2:] and arguments[2] not in dtypes):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        print(convert(Path(arguments[0]), Path(arguments[1]), *arguments[2:]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
