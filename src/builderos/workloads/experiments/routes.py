"""Operations on experiments."""

from builderos.core.operations import Download, Operations, Reply
from builderos.core.unit import Unit

from . import comparing, exporting, importing, schema, submit_schema, submitting, sweeps, verbs

routes = Operations("experiments")


@routes.get("/v1/experiments", "listExperiments")
def list_experiments(unit: Unit, body: schema.ExperimentListIn) -> schema.ExperimentPage:
    """List experiments, newest first."""
    return verbs.listed(unit, body)


@routes.post("/v1/experiments", "createExperiment", status=201)
def create_experiment(unit: Unit, body: schema.ExperimentIn) -> schema.Experiment:
    """Make an experiment, in a project or in none."""
    return verbs.create(unit, body)


@routes.post("/v1/experiments/import", "importExperiment", status=201)
def import_experiment(unit: Unit, body: submit_schema.ImportIn) -> submit_schema.ImportedExperiment:
    """Make an experiment of such a zip, with runs equal to those that were given out."""
    return importing.take_in(unit, body)


@routes.get("/v1/experiments/{id}", "getExperiment")
def get_experiment(unit: Unit, body: schema.WhichExperimentIn) -> schema.Experiment:
    """Show one experiment."""
    return verbs.show(unit, body)


@routes.post("/v1/experiments/{id}", "changeExperiment")
def change_experiment(unit: Unit, body: schema.ExperimentChangeIn) -> schema.Experiment:
    """Rename an experiment, put it away with its runs, or get it back."""
    return verbs.change(unit, body)


@routes.get("/v1/experiments/{id}/runs", "searchExperimentRuns")
def search_experiment_runs(unit: Unit, body: schema.RunSearchIn) -> schema.ExperimentRunPage:
    """Search the runs of an experiment by metrics, params, tags and attributes, in any order."""
    return verbs.search(unit, body)


@routes.get("/v1/experiments/{id}/compare", "compareExperimentRuns")
def compare_experiment_runs(unit: Unit, body: schema.CompareIn) -> schema.Comparison:
    """Lay runs side by side: parameters that differ, metrics, series, files."""
    return comparing.compare(unit, body)


@routes.get("/v1/experiments/{id}/export", "exportExperiment", media_types=("application/zip",))
def export_experiment(unit: Unit, body: submit_schema.ExportIn) -> Download:
    """Give an experiment out as one zip: its runs with every point and file, and a manifest of hashes."""
    return exporting.export(unit, body)


@routes.post("/v1/experiments/{id}/runs", "submitExperimentRun", status=202, consequential=True)
def submit_experiment_run(unit: Unit, body: submit_schema.SubmitIn) -> Reply[schema.ExperimentRun]:
    """Submit a run: a command on a commit of a branch, with its dataset, in the sandbox of an approved runtime."""
    return submitting.submit(unit, body)


@routes.post("/v1/experiments/{id}/sweeps", "startExperimentSweep", status=202, consequential=True)
def start_experiment_sweep(unit: Unit, body: submit_schema.SweepIn) -> Reply[schema.ExperimentRun]:
    """Search parameters: the same command with many of them, a run each, the hopeless ones given up early."""
    return sweeps.sweep(unit, body)


@routes.get("/v1/experiment-runs/{id}/sweep", "getExperimentSweep")
def get_experiment_sweep(unit: Unit, body: submit_schema.WhichSweepIn) -> submit_schema.Sweep:
    """Show how a search stands, the best trial first."""
    return sweeps.show(unit, body)


@routes.post("/v1/experiment-runs/{id}/cancel", "cancelExperimentRun", status=202, consequential=True)
def cancel_experiment_run(unit: Unit, body: submit_schema.CancelIn) -> Reply[schema.ExperimentRun]:
    """Cancel a run that was submitted, with all its processes; of a search all its trials, or one of them."""
    return submitting.cancel(unit, body)


@routes.post("/v1/experiments/{id}/runs/open", "openExperimentRun", status=201)
def open_experiment_run(unit: Unit, body: schema.RunOpenIn) -> schema.ExperimentRun:
    """Begin a run that is carried out elsewhere and logs here."""
    return verbs.open_(unit, body)


@routes.get("/v1/experiment-runs/{id}", "getExperimentRun")
def get_experiment_run(unit: Unit, body: schema.WhichRunIn) -> schema.ExperimentRunShown:
    """Show one run of an experiment with all that was logged to it."""
    return verbs.show_run(unit, body)


@routes.post("/v1/experiment-runs/{id}/log", "logExperimentRun")
def log_experiment_run(unit: Unit, body: schema.LogIn) -> schema.Logged:
    """Log metrics, parameters and tags to a run, all of them or none."""
    return verbs.log_(unit, body)


@routes.post("/v1/experiment-runs/{id}/end", "endExperimentRun")
def end_experiment_run(unit: Unit, body: schema.RunEndIn) -> schema.ExperimentRun:
    """Say what came of a run of an experiment."""
    return verbs.end(unit, body)


@routes.get("/v1/experiment-runs/{id}/metrics", "getExperimentSeries")
def get_experiment_series(unit: Unit, body: schema.SeriesIn) -> schema.SeriesPage:
    """Show the points of one metric of a run."""
    return verbs.series(unit, body)


@routes.get("/v1/experiment-runs/{id}/files", "listExperimentFiles")
def list_experiment_files(unit: Unit, body: schema.FilesIn) -> schema.FileList:
    """List the files of a run, or of a model that it logged."""
    return verbs.listed_files(unit, body)
