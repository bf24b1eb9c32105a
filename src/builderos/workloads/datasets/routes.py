"""Operations on datasets."""

from builderos.core.operations import Download, Operations, Reply
from builderos.core.unit import Unit

from . import service
from .schema import Dataset, DatasetList, ListIn, ReadIn, RegisterIn, WhichIn

routes = Operations("datasets")


@routes.post("/v1/datasets", "registerDataset", status=201)
def register_dataset(unit: Unit, body: RegisterIn) -> Reply[Dataset]:
    """Register a version of a dataset: artifacts, what a run kept, files of a branch, or a file behind a URL."""
    return service.register(unit, body)


@routes.get("/v1/datasets", "listDatasets")
def list_datasets(unit: Unit, body: ListIn) -> DatasetList:
    """List datasets, each in its newest version, or with name all versions of one."""
    return service.listed(unit, body)


@routes.get("/v1/datasets/{id}", "showDataset")
def show_dataset(unit: Unit, body: WhichIn) -> Dataset:
    """Show a version of a dataset with its files; `id` may be name@version, too."""
    return service.show(unit, body)


@routes.get("/v1/datasets/{id}/content", "readDataset", media_types=("application/octet-stream",))
def read_dataset(unit: Unit, body: ReadIn) -> Download:
    """Download a file of a dataset; who read it is recorded, and every block verified."""
    return service.content(unit, body)
