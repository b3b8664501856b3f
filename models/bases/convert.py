"""A GGUF file as a folder of safetensors, once: `python -m models.bases.convert GGUF OUT [float32|bfloat16|float16]`.

`transformers` reads a GGUF file by computing every weight back from its few bits, each time that it is opened, and vLLM
and PEFT want safetensors. What comes out is as exact as the quantised file was, and no more: a report on such a model
says from how many bits it was dequantised. Needs the package `gguf`.
"""

import importlib.util
import sys
from pathlib import Path

from models.tokenizer import save_tokenizer
from models.weights import Told, Weights
from perseid.errors import UserError

USAGE = "expected: python -m models.bases.convert GGUF OUT [float32|bfloat16|float16]"


def convert(gguf: Path, out: Path, dtype: str = "float32") -> Path:
    """Write config, tokenizer, generation config and weights of the file `gguf` into the new folder `out`.

    Raises `UserError` where there is no such file, `out` is there already, or `transformers` does not read it.
    """
    from transformers import AutoModelForCausalLM

    if not gguf.is_file():
        raise UserError(gguf, "GGUF", "expected a file, found none")
    if out.exists():
        raise UserError(out, "OUT", "exists already; expected a new folder")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(gguf, "GGUF", "expected the package gguf to read it: pip install gguf")
    weights = Weights(gguf.parent, None, "", Told(str(gguf.parent), gguf=gguf.name))
    try:
        model, tokenizer = weights.model(AutoModelForCausalLM, dtype), weights.tokenizer()
    except (ValueError, KeyError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(gguf, "GGUF", f"expected a causal language model that transformers reads: {reason}") from error
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)
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
