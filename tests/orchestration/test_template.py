"""`new` writes an experiment that runs as it is."""

from pathlib import Path

import pytest

from orchestration.template import write
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment
from perseid.problems import build


def test_a_new_experiment_loads_under_its_name_and_its_problems_build(tmp_path: Path) -> None:
    experiment = load_experiment(write("mine", tmp_path))
    assert experiment.name == "mine"
    assert len(build(experiment.problems, experiment.seed, [experiment.at(1).problems.pool]).problems) > 100


def test_every_section_of_an_experiment_stands_in_it(tmp_path: Path) -> None:
    written = load_experiment(write("mine", tmp_path))
    assert set(Experiment.model_fields) == written.model_fields_set


@pytest.mark.parametrize("name", ["", "Mine", "9x", "a b", "../x", "x" * 65])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="expected small letters, digits and _"):
        write(name, tmp_path)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = write("mine", tmp_path)
    path.write_text("my work")
    with pytest.raises(UserError, match="exists already"):
        write("mine", tmp_path)
    assert path.read_text() == "my work"
