"""A name belongs to a file; the present graph is what was noted last."""

import os
import shutil
from pathlib import Path

import pytest

from perseid.artifacts import present
from perseid.artifacts.present import Present
from perseid.errors import UserError


class Project:
    """A folder with experiment files and an artifact root, as a user has it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "var"
        folder.mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def seen(self, file: Path, *artifacts: str) -> Present:
        return present.of(self.root, file, file.read_text(), artifacts or ("x/problems",))

    def run(self, file: Path, *artifacts: str, take_over: bool = False) -> None:
        present.record(self.root, "x", self.seen(file, *artifacts), take_over)

    def holder(self) -> str:
        there = present.known(self.root, "x")
        assert there is not None
        return Path(there.file).name


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_the_first_to_run_holds_the_name_and_its_graph_is_known(project: Project) -> None:
    assert present.known(project.root, "x") is None
    project.run(project.write("x.yaml", "rollouts 4"), "x/problems", "x/round_01/pool")
    there = present.known(project.root, "x")
    assert there is not None
    assert there.artifacts == ("x/problems", "x/round_01/pool")


def test_a_file_edited_in_place_is_the_same_experiment(project: Project) -> None:
    file = project.write("x.yaml", "rollouts 4")
    project.run(file, "x/problems", "x/round_01/pool")
    file.write_text("rollouts 5")
    project.run(file, "x/problems")
    there = present.known(project.root, "x")
    assert there is not None
    assert (there.content, there.artifacts) == ("rollouts 5", ("x/problems",))


def test_a_copy_that_says_something_else_is_refused_in_one_line_and_changes_nothing(project: Project) -> None:
    project.run(project.write("x.yaml", "rollouts 4"))
    copy, before = project.write("copy.yaml", "rollouts 5"), (project.root / "x" / "graph.json").read_bytes()
    with pytest.raises(
        UserError, match=r"copy\.yaml: name: 'x' is the experiment of .*/x\.yaml in .*--take-over"
    ) as found:
        project.run(copy)
    assert "\n" not in str(found.value)
    assert (project.root / "x" / "graph.json").read_bytes() == before


def test_a_copy_that_says_the_same_runs_and_does_not_take_the_name(project: Project) -> None:
    file = project.write("x.yaml", "rollouts 4")
    project.run(file)
    copy = project.write("copy.yaml", "rollouts 4")
    project.run(copy)
    assert project.holder() == "x.yaml"
    copy.write_text("rollouts 5")
    with pytest.raises(UserError):
        project.run(copy)


def test_a_file_that_moved_with_its_content_holds_the_name_and_may_then_be_edited(project: Project) -> None:
    file = project.write("x.yaml", "rollouts 4")
    project.run(file)
    moved = file.rename(project.folder / "moved.yaml")
    project.run(moved)
    assert project.holder() == "moved.yaml"
    moved.write_text("rollouts 5")
    project.run(moved)


def test_a_file_that_moved_and_says_something_else_is_another(project: Project) -> None:
    file = project.write("x.yaml", "rollouts 4")
    project.run(file)
    moved = file.rename(project.folder / "moved.yaml")
    moved.write_text("rollouts 5")
    with pytest.raises(UserError):
        project.run(moved)


def test_a_project_that_moved_with_its_root_is_the_same_edited_or_not(project: Project, tmp_path: Path) -> None:
    project.run(project.write("x.yaml", "rollouts 4"))
    shutil.move(project.folder, tmp_path / "elsewhere")
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.run(elsewhere.write("x.yaml", "rollouts 5"))
    assert elsewhere.holder() == "x.yaml"


def test_a_name_that_is_taken_over_is_the_new_files(project: Project) -> None:
    file, other = project.write("x.yaml", "rollouts 4"), project.write("other.yaml", "rollouts 5")
    project.run(file)
    project.run(other, take_over=True)
    assert project.holder() == "other.yaml"
    with pytest.raises(UserError, match=r"x\.yaml: name: 'x' is the experiment of .*/other\.yaml"):
        project.run(file)


def test_a_damaged_file_is_named(project: Project) -> None:
    project.run(project.write("x.yaml", "rollouts 4"))
    path = project.root / "x" / "graph.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(UserError, match=r"graph\.json: damaged; delete it"):
        present.known(project.root, "x")


def test_a_pipe_in_the_place_of_the_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    os.mkfifo(tmp_path / "toy" / present.FILE)
    with pytest.raises(UserError, match="damaged"):
        present.known(tmp_path, "toy")
