"""`promote` and `rollback`: the user's word over the gate's, with the MLflow alias following."""

from assets import gate
from orchestration.evolve import hold
from orchestration.instance import check_databases
from orchestration.places import Places
from orchestration.tracking import tracking_of
from perseid.artifacts import Store
from perseid.experiment import Experiment
from perseid.gate import Holder


def promote(experiment: Experiment, places: Places, round_number: int) -> Holder:
    check_databases(places)
    hold(experiment, Store(places.root))
    return gate.promote(Store(places.root), experiment, round_number, tracking_of(places))


def rollback(experiment: Experiment, places: Places) -> Holder:
    check_databases(places)
    hold(experiment, Store(places.root))
    return gate.rollback(Store(places.root), experiment, tracking_of(places))
