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

from magentic_kit.cluster.carrier import Carrier, State
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.log import STREAM
from magentic_kit.cluster.worker import Worker


class Leaver(Carrier):
    def __init__(self, values: dict[str, list[object]]) -> None:
        self._values = values

    async def carry_out(self, *_: Any) -> State:
        assert DBOS.workflow_id is not None
        for value in self._values[DBOS.workflow_id]:
            await DBOS.write_stream_async(STREAM, json.dumps(value))
        print(DBOS.workflow_id, flush=True)
        await asyncio.sleep(3600)
        raise AssertionError


async def main(url: str, values: dict[str, list[object]]) -> None:
    worker = Worker(Database(url), lease=1.0)
    worker._carrier = Leaver(values)
    await worker.work()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
