"""Measures what KICK and LDM do to clients of several libraries, on real servers. `make effects` runs it.

For each server and library, with one server and with a cluster of two: a client that publishes 500 messages a second and
receives as many is kicked again and again, and then asked to leave (lame duck mode) again and again. The times are those at
which the servers tell of the client's connections (`$SYS.ACCOUNT.*.CONNECT` and `.DISCONNECT`), counted from the request on.

Usage: measure.py TOOLS_DIR WORK_DIR [--kicks N] [--servers 2.10,2.15] [--libraries nats-py,nats.go]; prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import nats

HERE = Path(__file__).resolve().parent
EVERY_SECONDS = 0.002
# How long a client may take to be back, and how long it is watched after it was asked to leave.
BACK_SECONDS = 15
LEAVE_SECONDS = 10
# Between two kicks everything comes to rest.
REST_SECONDS = 0.6
ASKED = 3

CONFIG = """\
server_name: {name}
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
ports_file_dir: {folder}
debug: true
log_file: {folder}/{name}.log
accounts {{
  APP {{ users: [ {{ user: alice, password: secret }} ] }}
  $SYS {{ users: [ {{ user: sys, password: secret }} ] }}
}}
no_auth_user: alice
cluster {{ name: effects, listen: "127.0.0.1:-1", pool_size: -1, {routes} }}
"""


class Server:
    def __init__(self, program: Path, name: str, folder: Path, route: str | None):
        routes = f'routes: ["nats-route://{route}"]' if route else ""
        config = folder / f"{name}.conf"
        config.write_text(CONFIG.format(name=name, folder=folder, routes=routes))
        self.log = folder / f"{name}.log"
        self.process = subprocess.Popen([program, "-c", config])
        ports = folder / f"{program.name}_{self.process.pid}.ports"
        deadline = time.monotonic() + 10
        while not ports.exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{program} did not start, see {self.log}")
            time.sleep(0.05)
        time.sleep(0.1)
        document = json.loads(ports.read_text())
        self.client, self.route = document["nats"][0], document["cluster"][0].removeprefix("nats://")
        self.monitor = document["monitoring"][0]

    def closed_reasons(self, name: str) -> set[str]:
        with urllib.request.urlopen(f"{self.monitor}/connz?state=closed&limit=10000") as answer:
            connections = json.load(answer)["connections"] or []
        return {it["reason"] for it in connections if it.get("name") == name}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@dataclass
class Result:
    """What was seen of one library with one version of the server and so many servers."""

    version: str
    library: str
    servers: int
    back: list[float] = field(default_factory=list)
    elsewhere: int = 0
    not_back: int = 0
    left: list[float] = field(default_factory=list)
    asked: int = 0
    events: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    logged: set[str] = field(default_factory=set)
    published: int = 0
    lost_up: int = 0
    lost_down: int = 0

    def row(self) -> list[str]:
        kicks = len(self.back) + self.not_back
        times = ["-"] * 3
        if self.back:
            times = [f"{of(self.back) * 1000:.1f}" for of in (statistics.median, min, max)]
        return [
            self.version, self.library, str(self.servers), str(kicks), *times,
            f"{self.elsewhere}/{kicks}", f"{self.lost_up / max(kicks, 1):.1f}", f"{self.lost_down / max(kicks, 1):.1f}",
            f"{len(self.left)}/{self.asked}", "; ".join(sorted(self.events)), "; ".join(sorted(self.reasons)),
            "; ".join(sorted(self.logged)),
        ]


HEADINGS = [
    "server", "library", "servers", "kicks", "back ms", "min", "max", "elsewhere", "lost up", "lost down", "left",
    "client says", "reason", "server logs",
]


class Bench:
    """Some servers, who listens to them, and the client of one library."""

    def __init__(self, servers: list[Server], command: list[str], name: str, result: Result):
        self.servers, self.command, self.name, self.result = servers, command, name, result
        self.connects: asyncio.Queue = asyncio.Queue()
        self.disconnects: asyncio.Queue = asyncio.Queue()
        self.heard = self.sent = 0

    async def run(self, kicks: int) -> None:
        self.system = await nats.connect(self.servers[0].client, user="sys", password="secret")
        self.listener = await nats.connect(self.servers[0].client, name="listener")
        await self.system.subscribe("$SYS.ACCOUNT.APP.CONNECT", cb=self.on_connect)
        await self.system.subscribe("$SYS.ACCOUNT.APP.DISCONNECT", cb=self.on_disconnect)
        await self.listener.subscribe(f"up.{self.name}", cb=self.on_message)
        await self.system.flush()
        await self.listener.flush()
        client = await asyncio.create_subprocess_exec(
            *self.command, self.servers[0].client, self.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        reading = asyncio.create_task(client.stdout.read())
        where = await asyncio.wait_for(self.connects.get(), 20)
        await asyncio.sleep(1)
        stop = asyncio.Event()
        pushing = asyncio.create_task(self.push(stop))
        await asyncio.sleep(REST_SECONDS)
        where = await self.kick(where, kicks)
        await self.ask(where)
        stop.set()
        await pushing
        await asyncio.sleep(REST_SECONDS)
        self.read_servers()
        client.stdin.close()
        lines = (await asyncio.wait_for(reading, 10)).decode().splitlines()
        await client.wait()
        await self.listener.flush()
        await asyncio.sleep(0.2)
        self.judge([json.loads(line) for line in lines])
        await self.system.close()
        await self.listener.close()

    async def on_connect(self, message) -> None:
        event = json.loads(message.data)
        if event["client"].get("name") == self.name:
            self.connects.put_nowait((event["server"]["id"], event["client"]["id"], time.monotonic()))

    async def on_disconnect(self, message) -> None:
        event = json.loads(message.data)
        if event["client"].get("name") == self.name:
            self.disconnects.put_nowait((event["client"]["id"], event["reason"], time.monotonic()))

    async def on_message(self, _message) -> None:
        self.heard += 1

    async def push(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.listener.publish(f"down.{self.name}", b"x")
            self.sent += 1
            await asyncio.sleep(EVERY_SECONDS)
        await self.listener.flush()

    async def kick(self, where: tuple, kicks: int) -> tuple:
        for _ in range(kicks):
            server, cid, _ = where
            begun = time.monotonic()
            await self.control("KICK", server, cid)
            try:
                where = await asyncio.wait_for(self.connects.get(), BACK_SECONDS)
            except asyncio.TimeoutError:
                self.result.not_back += 1
                return where
            self.result.back.append(where[2] - begun)
            self.result.elsewhere += where[0] != server
            await asyncio.sleep(REST_SECONDS)
        while not self.disconnects.empty():
            self.disconnects.get_nowait()
        return where

    async def ask(self, where: tuple) -> None:
        """Asks the client to leave, and sees whether it does."""
        for _ in range(ASKED):
            server, cid, _ = where
            begun = time.monotonic()
            await self.control("LDM", server, cid)
            self.result.asked += 1
            try:
                _, reason, at = await asyncio.wait_for(self.disconnects.get(), LEAVE_SECONDS)
            except asyncio.TimeoutError:
                # it has heard it, and would not do otherwise if it heard it again
                return
            self.result.left.append(at - begun)
            self.result.reasons.add(f"left: {reason}")
            where = await asyncio.wait_for(self.connects.get(), BACK_SECONDS)

    async def control(self, what: str, server: str, cid: int) -> None:
        subject = f"$SYS.REQ.SERVER.{server}.{what}"
        answer = await self.system.request(subject, json.dumps({"cid": cid}).encode(), timeout=5)
        if "error" in json.loads(answer.data):
            raise RuntimeError(f"{what} {cid}: {answer.data.decode()}")

    def judge(self, events: list[dict]) -> None:
        last = events[-1]
        assert last["event"] == "over", events
        self.result.published = last["published"]
        self.result.lost_up = last["published"] - self.heard
        self.result.lost_down = self.sent - last["received"]
        for event in events[:-1]:
            if event["event"] not in ("connected", "over"):
                text = f"{event['event']} {event['text']}".strip()
                self.result.events.add(text if len(text) < 90 else text[:89] + "…")

    def read_servers(self) -> None:
        """Reads what the servers say of the connections that have ended so far."""
        for server in self.servers:
            self.result.reasons |= server.closed_reasons(self.name)
            for line in server.log.read_text().splitlines():
                if "onnection closed" in line or "Lame Duck" in line:
                    level = line.split("[")[2][:3]
                    self.result.logged.add(f"{level} {line.rsplit(' - ', 1)[1]}")


async def measure(arguments: argparse.Namespace, command: list[str], result: Result) -> None:
    """Starts the servers, and sees what happens to a client of them."""
    version, library, size = result.version, result.library, result.servers
    folder = arguments.work / f"{version}-{library}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    servers: list[Server] = []
    try:
        for number in range(size):
            route = servers[0].route if servers else None
            program = (arguments.tools / f"nats-server-{version}").resolve()
            servers.append(Server(program, f"n{number}", folder, route))
        await asyncio.sleep(1.5 if size > 1 else 0.2)
        await Bench(servers, command, f"client-of-{library}", result).run(arguments.kicks)
    finally:
        for server in servers:
            server.stop()


async def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what KICK and LDM do to clients.")
    parser.add_argument("tools", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kicks", type=int, default=20)
    parser.add_argument("--servers", default="2.10,2.11,2.12,2.15")
    parser.add_argument("--libraries", default="async-nats,nats-py,nats.go,nats.js,jnats")
    parser.add_argument("--async-nats-client", default="target/debug/examples/effects-client")
    arguments = parser.parse_args()
    work = arguments.work = arguments.work.resolve()
    commands = {
        "async-nats": [str(Path(arguments.async_nats_client).resolve())],
        "nats-py": [sys.executable, str(HERE / "client.py")],
        "nats.go": [str(work / "client-go")],
        "nats.js": ["node", str(work / "client.mjs")],
        "jnats": ["java", "-cp", str(work / "java/*"), str(HERE / "Client.java")],
    }
    print("\t".join(HEADINGS), flush=True)
    for library in arguments.libraries.split(","):
        for version in arguments.servers.split(","):
            for size in (1, 2):
                result = Result(version, library, size)
                await measure(arguments, commands[library], result)
                print("\t".join(result.row()), flush=True)


asyncio.run(main())
