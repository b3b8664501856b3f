"""What a checkpoint folder means, and that a base cannot change under a pointer."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from models.attempt import Attempt
from models.bases.pretrained import point
from models.checkpoint import weights_hash
from models.weights import Told, Weights, located
from perseid.checkpoints import Pretrained
from perseid.errors import UserError
from tests.models.tiny import CHATML, checkpoint

ATTEMPT = Attempt(0, "x/round_00/policy", "models.policy")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("bases") / "base", "llama", "fast", CHATML)


def pointed(base: Path, out: Path, **more: object) -> Told:
    return point(Pretrained.model_validate({"from": str(base), "context": 128, **more}), out, ATTEMPT)


def test_a_pointer_copies_nothing_and_names_every_file(base: Path, tmp_path: Path) -> None:
    told = pointed(base, tmp_path / "pointer", chat_template="own", dtype="bfloat16")
    assert [path.name for path in (tmp_path / "pointer").iterdir()] == ["base.json"]
    weights = Weights.of(tmp_path / "pointer")
    assert weights == Weights(base, None, weights_hash(tmp_path / "pointer"), told)
    assert (told.name, told.revision, told.template, told.context, told.dtype) == (
        str(base),
        "",
        CHATML,
        128,
        "bfloat16",
    )
    assert set(told.files) == {path.name for path in base.iterdir()}


def test_the_same_base_asked_in_another_way_is_another_checkpoint(base: Path, tmp_path: Path) -> None:
    pointed(base, tmp_path / "a")
    pointed(base, tmp_path / "b")
    pointed(base, tmp_path / "c", chat_template="own")
    a, b, c = (Weights.of(tmp_path / name).identity for name in "abc")
    assert a == b != c


def test_a_base_that_changed_under_its_pointer_is_an_error(base: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(base, tmp_path / "own"))
    pointed(own, tmp_path / "pointer")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    with pytest.raises(UserError, match=r"config\.json: models\.policy\.from: expected the file as it was"):
        Weights.of(tmp_path / "pointer")
    (own / "config.json").unlink()
    with pytest.raises(UserError, match="expected the file of the base: it was there"):
        Weights.of(tmp_path / "pointer")


def test_an_adapter_without_its_pointer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_text("")
    with pytest.raises(UserError, match=r"base\.json: expected it beside an adapter"):
        Weights.of(tmp_path)


def test_a_pointer_that_says_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"nme": "x"}')
    with pytest.raises(UserError, match="expected what a pretrained base wrote"):
        Weights.of(tmp_path)


@pytest.mark.parametrize(
    ("name", "revision", "told"),
    [
        ("./nowhere", "", "expected a folder or a name of the hub like owner/model; there is no ./nowhere here"),
        ("nowhere", "", "expected a folder or a name of the hub like owner/model"),
        (__file__, "", "expected a folder, found the file"),
        (str(Path(__file__).parent), "main", "revision: has no effect: `from` is a folder"),
        (
            "nobody/nothing",
            "",
            "HF_HUB_OFFLINE is set): put its config.json, *.safetensors and",
        ),
    ],
)
def test_a_base_that_is_not_to_be_had_says_what_to_put_where(
    name: str, revision: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as found:
        located(name, revision, "x/round_00/policy")
    assert told in str(found.value)
    assert "\n" not in str(found.value)


def test_the_context_is_the_least_of_what_the_model_and_the_file_allow(base: Path, tmp_path: Path) -> None:
    pointed(base, tmp_path / "pointer")
    weights = Weights.of(tmp_path / "pointer")

    class Config:
        max_position_embeddings = 100

    assert weights.context(Config) == 100
    assert weights.context(object()) == 128
    assert replace(weights, told=None).context(object()) == 2**20
