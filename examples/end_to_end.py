"""From the first run to the first drift alarm, on real scans, in one go.

python examples/end_to_end.py                 # in a store of its own, removed afterwards
python examples/end_to_end.py --store PATH    # in a SQLite file that stays, for the dashboard
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from db import Database
from examples.story import load_example_data


def main() -> None:
    """Tell the story, a sentence for each thing that happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a SQLite file; made when it is not there")
    chosen = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(chosen.store or Path(folder) / "modeldesk.db")
        story = load_example_data(database, print)
        database.close()
    print(f"{len(story.run_ids)} runs, 2 versions, 1 A/B test, 1 model watched, in {time.perf_counter() - began:.1f} s")
    if chosen.store:
        print(f"look at it: MODELDESK_DATABASE_URL=sqlite:///{chosen.store.resolve()} ./run.sh")


if __name__ == "__main__":
    main()
