"""The build hook: builds the console, so that whoever installs from source needs Python alone, and no Node."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Console(BuildHookInterface[Any]):
    """Puts the console where the wheel takes it along (`artifacts` in pyproject.toml)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build it unless that was done."""
        path = Path(self.root) / "scripts/console.py"
        spec = importlib.util.spec_from_file_location("builderos_console_build", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build()
