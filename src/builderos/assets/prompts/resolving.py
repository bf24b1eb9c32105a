"""What a reference means: the file on the branch, else the registry of the organisation, else what is shipped."""

from typing import Final, Protocol

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.core.versions import bounds_of, fits, is_stable, is_version, rank_of
from builderos.core.yamlwords import MAX_KEYS, Words

from . import registry
from .reading import parse
from .spec import PromptVersion, Spec

FOLDER: Final = "prompts"
CONFIG: Final = "builderos.yaml"
_END: Final = ".yaml"


class Files(Protocol):
    """Files of one state of a repository."""

    def read(self, path: str, /) -> bytes | None:
        """The bytes of a file; None where there is none."""
        ...

    def list(self, folder: str, /) -> list[str]:
        """Names directly inside a folder."""
        ...


def file_of(name: str) -> str:
    """Where the prompt of a name lies in a repository."""
    return f"{FOLDER}/{name}{_END}"


def resolve(
    unit: Unit, ref: str, *, branch: Branch | str | None = None, repo_id: str | None = None, files: Files | None = None
) -> PromptVersion:  # fmt: skip
    """The one version that a reference means now: `name`, `name@1.2.0`, `name@^1`, `name@latest`, `name@label`.

    Files win over the registry for a name, a version or a range: those of `branch` (by name in `repo_id`), or of
    `files`, any state of a repository; a name that has no file there is what `builderos.yaml` says of it. `latest` and
    labels are the registry's. Asks no policy: for those who have.
    Raises `not_found`, `validation_failed`.
    """
    name, what = registry.split(ref)
    if files is None and branch is not None:
        files = _files_of(unit, branch, repo_id)
    if files is not None and not what and _path(files, name, "") is None:
        what = _pinned(files, name)
    local = what == "" or is_version(what) or bounds_of(what) is not None
    found = _on_branch(unit, files, name, what) if files is not None and local else None
    found = found or registry.find(unit, name, what)
    if found is None:
        raise registry.not_found(ref)
    return found


def _pinned(files: Files, name: str) -> str:
    """What `builderos.yaml` says behind the @ of a prompt (`prompts: [planner@^1.0]`); empty where it says nothing."""
    reader = Words()
    data = files.read(CONFIG)
    root = reader.document(data.decode("utf-8", "replace")) if data is not None else None
    node = reader.free_mapping(root, "", MAX_KEYS).get(FOLDER) if root is not None else None
    for ref in reader.listed(node, FOLDER, MAX_KEYS, reader.text) if node is not None else ():
        head, _, what = ref.partition("@")
        if head == name and what:
            return registry.split(ref)[1]
    return ""


def _files_of(unit: Unit, branch: Branch | str, repo_id: str | None) -> Files:
    if isinstance(branch, str):
        found = repositories.find_branch(unit, repo_id or "", branch)
        if found is None:
            raise Problem("not_found", f"there is no branch {branch[:80]}", hint="Check the branch name.")
        branch = found
    return workspaces.tip_of(unit, branch)


def _on_branch(unit: Unit, files: Files, name: str, what: str, depth: int = 0) -> PromptVersion | None:
    path = _path(files, name, what)
    if path is None:
        return None
    spec = _spec(files, path, name)
    if depth >= registry.MAX_DEPTH:
        raise registry.too_deep(spec)
    partials: dict[str, PromptVersion] = {}
    for word, ref in spec.partials.items():
        part_name, _, version = ref.partition("@")
        part = _on_branch(unit, files, part_name, version, depth + 1) or registry.find(
            unit, part_name, version
        )
        if part is None:
            raise registry.not_found(ref)
        partials[word] = part
    sha256 = spec.sha256({word: part.sha256 for word, part in partials.items()})
    return PromptVersion(spec, sha256, _text(files, path), {"type": "branch", "path": path}, partials)


def _path(files: Files, name: str, what: str) -> str | None:
    """The file that a name and a version or range mean; None where the branch has none."""
    plain, folder = file_of(name), f"{FOLDER}/{name}"
    there = files.read(plain) is not None
    if there and not what:
        return plain
    versions = [entry.removesuffix(_END) for entry in files.list(folder) if entry.endswith(_END)]
    versions = [version for version in versions if is_version(version)]
    if is_version(what):
        fitting = [version for version in versions if version == what]
    elif what:
        fitting = [version for version in versions if fits(version, what)]
    else:
        fitting = [version for version in versions if is_stable(version)] or versions
    best = max(fitting, key=rank_of, default=None)
    if there:
        own = _spec(files, plain, name).version
        wanted = own == what or (not is_version(what) and fits(own, what))
        if wanted and (best is None or rank_of(own) >= rank_of(best)):
            return plain
    return f"{folder}/{best}{_END}" if best is not None else None


def _spec(files: Files, path: str, name: str) -> Spec:
    version = None if path == file_of(name) else path.rpartition("/")[2].removesuffix(_END)
    return parse(_text(files, path), name=name, version=version)


def _text(files: Files, path: str) -> str:
    data = files.read(path) or b""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Problem("validation_failed", f"{path} is no text in UTF-8", hint="Save it as UTF-8.") from None
