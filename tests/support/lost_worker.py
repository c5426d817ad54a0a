"""A worker that takes every run, leaves a log behind as it was told, and is then killed.

`python lost_worker.py URL FILE`: the file has, by run, the JSON values to be written to its stream.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from dbos import DBOS

from magentic_kit.cluster.adoption import Liveness
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.history import STREAM
from magentic_kit.cluster.workflow import RunWorkflow, State


async def main(url: str, values: dict[str, list[object]]) -> None:
    async def leave_behind(*_: Any) -> State:
        assert DBOS.workflow_id is not None
        for value in values[DBOS.workflow_id]:
            await DBOS.write_stream_async(STREAM, json.dumps(value))
        print(DBOS.workflow_id, flush=True)
        await asyncio.sleep(3600)
        raise AssertionError

    database = Database(url)
    database.limit()
    Liveness(database, "lost", lease=1.0, patience=60.0, lost=print).start()
    RunWorkflow(database, "lost", leave_behind).launch()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
