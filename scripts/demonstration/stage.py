"""The programs of the demo: how they are started, watched and ended."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Callable

from demonstration.terminal import say

STOP_SECONDS = 10

# Whatever proxy is configured, loopback is not behind it.
ENVIRONMENT = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """A step that did not work, and the process whose log may say why."""

    def __init__(self, message: str, process: Process | None = None):
        super().__init__(message)
        self.process = process


class Process:
    """A program that the demo started, with its own log file."""

    def __init__(self, name: str, command: list[str | Path], folder: Path):
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches only the demo, which then ends the others in order.
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def running(self) -> bool:
        return self.popen.poll() is None

    def tail(self, lines: int = 20) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-lines:]


class Stage:
    """All programs that were started."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[Process] = []

    def start(self, name: str, command: list[str | Path]) -> Process:
        try:
            process = Process(name, command, self.folder)
        except OSError as error:
            raise Failure(f"{command[0]} could not be started: {error}") from None
        self.processes.append(process)
        return process

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def need_running(self) -> None:
        for process in self.processes:
            if not process.running():
                raise Failure(f"{process.name} ended by itself, with {ending(process.popen.returncode)}", process)

    def wait(self, url: str, seconds: float) -> None:
        """Waits until the process that was started last answers 200 at `url`."""
        process = self.processes[-1]

        def answers() -> bool:
            fetch(url)
            return True

        self.until(answers, seconds, f"{process.name} did not answer {url} with 200", process)

    def until(
        self, condition: Callable[[], bool], seconds: float, failure: str | Callable[[], str], process: Process
    ) -> None:
        """Asks again and again until `condition` holds; an error of the network counts as not yet."""
        deadline = time.monotonic() + seconds
        last = ""
        while True:
            self.need_running()
            try:
                if condition():
                    return
            except (OSError, http.client.HTTPException) as error:
                last = f" ({error})"
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise Failure(f"unexpected answer: {type(error).__name__} {error}", process) from None
            if time.monotonic() >= deadline:
                text = failure if isinstance(failure, str) else failure()
                raise Failure(f"{text} within {seconds} s{last}", process)
            time.sleep(0.2)

    def stop(self) -> bool:
        """Ends what was started, one after the other and the last one first, so that nobody is left without the others
        that it needs to end well: SIGTERM, and SIGKILL for those that stay.

        Says whether SIGTERM was enough.
        """
        if not self.processes:
            return True
        obedient = True
        say("ending " + ", ".join(f"{process.name} (pid {process.popen.pid})" for process in reversed(self.processes)))
        for process in reversed(self.processes):
            if process.running():
                process.popen.terminate()
            try:
                process.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"{process.name} did not end within {STOP_SECONDS} s of SIGTERM: killing it")
                process.popen.kill()
                process.popen.wait()
                obedient = False
        return obedient


def die_with_parent() -> None:
    """Has the kernel end this child should the demo be killed without a chance to clean up."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def fetch(request: str | urllib.request.Request) -> bytes:
    """Asks somebody on loopback, never through a proxy from the environment."""
    with OPENER.open(request, timeout=5) as response:
        return response.read()


def get_json(url: str):
    return json.loads(fetch(url))


def post_json(url: str, document, token: str | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return fetch(urllib.request.Request(url, json.dumps(document).encode(), headers))


def free_ports(number: int) -> list[int]:
    """Finds free ports, outside the range from which outgoing connections (thousands, here) get theirs."""
    found: list[int] = []
    while len(found) < number:
        candidate = random.randint(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        if candidate not in found:
            found.append(candidate)
    return found
