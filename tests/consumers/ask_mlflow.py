"""Every run at the MLflow store of MLFLOW_TRACKING_URI, as JSON. In MLflow's environment."""

import json

from mlflow import MlflowClient

client, told = MlflowClient(), []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        done = client.get_metric_history(run.info.run_id, "done")
        told.append(
            {
                "id": run.info.run_id,
                "experiment": experiment.name,
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": run.data.tags,
                "done": [(one.step, one.value) for one in done],
            }
        )
print(json.dumps(told))
