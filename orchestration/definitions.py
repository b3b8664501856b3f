"""The code location that the UI and the daemon load (workspace.yaml): every experiment in `experiments/`.

A file that holds none is shown with the reason, and said in the log; the others load.
"""

import logging

from orchestration.code_location import definitions
from orchestration.places import Places, all_experiments
from orchestration.resources import resources

places, found = Places.of(), all_experiments()
for reason in found.broken.values():
    logging.getLogger("perseid").warning(reason)
defs = definitions(found.experiments, resources(places), places, found.broken)
