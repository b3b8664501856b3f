"""The code location that the UI and the daemon load (workspace.yaml): every experiment in `experiments/`.

A file that holds none is shown with the reason, and said in the log; the others load.
"""

import logging

from orchestration.code_location import LONGEST, definitions
from orchestration.places import Places, all_experiments
from orchestration.resources import resources
from perseid.errors import printable

places, found = Places.of(), all_experiments()
for reason in found.broken.values():
    logging.getLogger("perseid").warning(printable(reason, LONGEST))
defs = definitions(found.experiments, resources(places), places, found.broken)
