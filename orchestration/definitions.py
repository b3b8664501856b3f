"""The code location that the UI and the daemon load (workspace.yaml): every experiment in `experiments/`."""

from orchestration.code_location import definitions
from orchestration.places import Places, all_experiments
from orchestration.resources import resources

places = Places.of()
defs = definitions(all_experiments(), resources(places), places)
