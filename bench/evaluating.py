"""A suite in promptfoo's words, carried out by our runner alone: `python -m bench.evaluating suite.yaml out.json`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from builderos.workloads.evals.reading import parse
from builderos.workloads.evals.running import Runner


class Nobody:
    """Nothing in such a suite asks anybody."""

    async def ask(self, *_: Any) -> NoReturn:
        """No model."""
        raise AssertionError("nothing in this suite asks anybody")

    judge = embed = command = ask


def main(source: Path, target: Path) -> None:
    """Try it and write which cases passed."""
    suite = parse(source.read_text("utf-8"), name=source.stem)
    trials = asyncio.run(Runner(suite, Nobody()).run())
    target.write_text(json.dumps([trial.passed for trial in trials]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
