"""A registered version as MLflow wants it: a folder with an `MLmodel` file, code that loads, the way to the weights.

It lies among MLflow's artifacts and points to the artifact by a relative link: nothing is copied, the artifact keeps
its version, and a root that is copied or moved as a whole still loads.
"""

import os
import shutil
import tempfile
from pathlib import Path

from assets.tracking import Checkpoint
from models.served import MAX_NEW_TOKENS
from perseid.artifacts.disk import HIDDEN

LOADER = Path(__file__).parent.parent / "models" / "served.py"
MODULE = "perseid_served"


def exported(checkpoint: Checkpoint, artifacts: Path) -> Path:
    """The folder of this version below `artifacts`, made if there is none."""
    final = artifacts / "models" / checkpoint.model / checkpoint.version
    if not (final / "MLmodel").exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=HIDDEN) as folder:
            made = Path(folder) / final.name
            write(made, os.path.relpath(checkpoint.folder.resolve(), final))
            made.rename(final)
    return final


def write(folder: Path, weights: str) -> None:
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    (folder / "code").mkdir(parents=True)
    shutil.copyfile(LOADER, folder / "code" / f"{MODULE}.py")
    (folder / "model").symlink_to(weights, target_is_directory=True)
    # MLflow passes on no parameter that is not declared.
    known = ParamSchema([ParamSpec("max_new_tokens", "long", MAX_NEW_TOKENS)])
    model = Model(signature=ModelSignature(params=known))
    model.add_flavor("python_function", loader_module=MODULE, code="code", data="model")
    model.save(str(folder / "MLmodel"))
