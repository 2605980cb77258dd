"""The download of a model's weights, before engines start: on this machine, or on each node of a cluster."""

from cluster.inference.weights import Weights, gigabytes, hub_weights
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say
from cluster.nodes import ask_nodes

_LONGEST_S = 86_400.0


def check_download(plan: JobPlan, settings: JobSettings) -> None:
    """Raise ValueError if the weights cannot be downloaded; a dry run says how much would be."""
    if (weights := _weights_of(plan)) and (size := weights.missing().size()) and settings.dry_run:
        say("engines", f"{weights.shown} are not here: {gigabytes(size)} would be downloaded")


def weight_bytes(plan: JobPlan) -> int:
    """Return the size of the weights' files, here or by the hub; 0 if unknown. Raises ValueError without an answer."""
    if plan.model.weight_bytes or not (weights := _weights_of(plan)):
        return plan.model.weight_bytes
    return weights.size()


def download(plan: JobPlan, *, everywhere: bool) -> None:
    """Download the weights once, here or `everywhere` on the nodes that lack them. Raises ValueError if that fails."""
    if (weights := _weights_of(plan)) is None:
        return
    found = [one for _, one in ask_nodes(weights.missing)] if everywhere else [weights.missing()]
    if lacking := [one for one in found if one.files]:
        on = f" on {len(lacking)} of {len(found)} nodes" if everywhere else ""
        most = max(lacking, key=lambda one: len(one.files))
        say("engines", f"downloading {weights.shown}{on}, {gigabytes(most.size())}")
        if everywhere:
            ask_nodes(weights.fetch, _LONGEST_S)
        else:
            weights.fetch_apart()


def _weights_of(plan: JobPlan) -> Weights | None:
    return hub_weights(plan.model, str(plan.engine_args.get("load_format", "auto")))
