"""`python -m tests.support.reaper FOLDER`: wait until nobody uses the run folder, then clean it up."""

import sys
from pathlib import Path

from tests.support.run_folder import clean_up

if __name__ == "__main__":
    clean_up(Path(sys.argv[1]))
