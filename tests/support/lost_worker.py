"""A worker that takes every run, leaves a log behind as it was told, and is then killed.

`python lost_worker.py URL FILE`: the file has, by run, the JSON values to be written to its stream.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

from magentic_kit.cluster.database import APPLICATION, QUEUE, STREAM, VERSION, WORKFLOW


def main(url: str, values: dict[str, list[object]]) -> None:
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": url,
        "executor_id": "lost",
        "application_version": VERSION,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.listen_queues([QUEUE])

    @DBOS.workflow(name=WORKFLOW)
    async def run(spec: str) -> None:
        await DBOS.run_step_async({"name": "carry out"}, leave_behind)

    async def leave_behind() -> None:
        assert DBOS.workflow_id is not None
        for value in values[DBOS.workflow_id]:
            await DBOS.write_stream_async(STREAM, json.dumps(value))
        print(DBOS.workflow_id, flush=True)
        await asyncio.sleep(3600)

    async def wait() -> None:
        DBOS.launch()
        await asyncio.sleep(3600)

    asyncio.run(wait())


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
