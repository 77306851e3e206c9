"""A client of nats-py: publishes numbers, counts what it receives, and tells what happens to it.

Usage: client.py URL NAME. Ends when its standard input does.
"""

import asyncio
import json
import sys
import time

import nats

EVERY_SECONDS = 0.002


def tell(event: str, text: str = "", **more) -> None:
    print(json.dumps({"at": time.time(), "event": event, "text": text, **more}), flush=True)


async def main() -> None:
    url, name = sys.argv[1:]
    received = published = refused = 0
    over = asyncio.Event()
    asyncio.get_running_loop().run_in_executor(None, lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)))
    loop = asyncio.get_running_loop()

    async def disconnected():
        tell("disconnected")

    async def reconnected():
        tell("reconnected")

    async def failed(error):
        tell("error", repr(error))

    async def arrived(_message):
        nonlocal received
        received += 1

    client = await nats.connect(
        url, name=name, disconnected_cb=disconnected, reconnected_cb=reconnected, error_cb=failed
    )
    await client.subscribe(f"down.{name}", cb=arrived)
    await client.flush()
    tell("connected")
    while not over.is_set():
        try:
            await client.publish(f"up.{name}", str(published).encode())
            published += 1
        except Exception as error:  # whatever it is, it is counted
            refused += 1
            if refused == 1:
                tell("refused", repr(error))
        await asyncio.sleep(EVERY_SECONDS)
    await client.flush()
    tell("over", published=published, refused=refused, received=received)


asyncio.run(main())
