"""The demo's steps, in the order in which they are told."""

from __future__ import annotations

import json
import os
import resource
import shlex
import time
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

from demonstration.stage import ENVIRONMENT, Failure, Stage, fetch, free_ports, get_json, post_json
from demonstration.terminal import excerpt, heading, output_of, prompt, say, tell, write

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".tools/bin"

ALERT = "NatsHighNumberOfConnections"
CULPRIT = "report-worker"
METRIC = "gnatsd_connz_num_connections"
# The healthy clients, and those of the leak. The leak has to become the largest application, and without most of it
# there must be clearly fewer connections than the rule allows.
COUNT = 700
LEAK = 1500
KEEP = 100
THRESHOLD = 1000
LEAK_PER_SECOND = 150
# So many batches of those that are asked to leave, and as many of those that stayed and are cut.
BATCHES = 4
# Every connection costs one descriptor, in the swarm and in nats-server; this many are for other things.
SPARE_DESCRIPTORS = 256
FEWEST_CONNECTIONS = 100
# The exporter asks /connz for one page, and a page has at most this many connections.
METRIC_SATURATES_AT = 1024
# More than there are: what is asked for all connections gets one page.
MANY_CONNECTIONS = 100_000

NATS_CONFIG = """\
server_name: demo
listen: "127.0.0.1:{client_port}"
http: "127.0.0.1:{monitor_port}"
accounts {{
  APP {{ users: [ {{ user: alice, password: demo }}, {{ user: bob, password: demo }} ] }}
  BATCH {{ users: [ {{ user: carol, password: demo }} ] }}
  $SYS {{ users: [ {{ user: warden, password: demo }} ] }}
}}
"""

# The guards and the pace of a demo: a real cluster keeps the defaults, which are far more careful.
CONNWARDEN_CONFIG = """\
web:
  listen_address: 127.0.0.1:{port}
storage:
  path: {folder}/data
incidents:
  verify_interval: 2s
clusters:
  - name: demo
    monitor: {monitor}
    match: 'job="nats"'
    system_account:
      urls: ["nats://{nats}"]
      user: warden
      password_file: {folder}/password
alertmanagers:
  - url: {alertmanager}
mitigations:
  max_victims: {leak}
  max_share_percent: 80
  hourly_budget: {leak}
  batch: {batch}
  batch_pause: 1s
  drain_wait: 10s
  verify_after: [5s, 15s]
"""

ALERTMANAGER_CONFIG = """\
route:
  receiver: connwarden
  group_by: [alertname, instance]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 1h
receivers:
  - name: connwarden
    webhook_configs:
      - url: {connwarden}/api/v1/webhook/alertmanager
        send_resolved: true
"""


class Demo:
    """The whole way: a leak, its alert, the diagnosis, a plan, its approval, the run, and the verified end."""

    def __init__(self, bin_dir: Path, folder: Path):
        self.bin_dir = bin_dir
        self.connwarden = bin_dir / "connwarden"
        self.swarm = bin_dir / "examples/swarm"
        self.folder = folder
        self.stage = Stage(folder)
        self.step = "starting"
        ports = free_ports(4)
        self.nats = f"127.0.0.1:{ports[0]}"
        self.monitor = f"http://127.0.0.1:{ports[1]}"
        self.server = f"http://127.0.0.1:{ports[2]}"
        self.alertmanager = f"http://127.0.0.1:{ports[3]}"
        self.started_at = ""

    def run(self, once: bool) -> None:
        self.begin("looking for the programs", "A leak")
        self.need_programs()
        self.step = "reading the descriptor limit"
        self.people = Population.for_this_machine()
        self.step = "starting nats-server"
        self.start_nats()
        self.step = "starting Alertmanager"
        self.start_alertmanager()
        self.step = "starting connwarden"
        self.start_connwarden()
        self.step = "opening the connections"
        self.start_swarm()
        self.begin("posting the alert", "The alert")
        self.fire()
        self.step = "waiting for the incident"
        incident = self.wait_for_incident()
        self.begin("printing the incident", "What connwarden found out by itself")
        self.show_incident(incident)
        self.check_culprit(incident)
        self.begin("planning", "A plan: nothing is done yet")
        plan = self.plan(incident["id"])
        self.begin("approving the plan", "A person approves it, and it runs")
        strangers = self.strangers()
        self.approve(plan)
        self.step = "waiting for the run"
        self.wait_for_run(plan["id"])
        self.begin("waiting for the end", "Did it help?")
        self.wait_for_end(incident["id"], plan["id"])
        self.check_strangers(strangers)
        self.step = "printing the timeline"
        self.show_timeline(incident["id"], plan["id"])
        self.step = "running"
        self.where_to_look(incident["id"], plan["id"])
        if not once:
            self.stay()

    def begin(self, step: str, title: str) -> None:
        self.step = step
        heading(title)

    # ------------------------------------------------------------ the servers

    def need_programs(self) -> None:
        for program, remedy in (
            (TOOLS / "nats-server-2.15", "make tools"),
            (TOOLS / "alertmanager", "make tools"),
            (self.connwarden, "make demo, or give --bin-dir the folder that has it"),
            (self.swarm, "make demo, or give --bin-dir the folder that has it"),
        ):
            if not os.access(program, os.X_OK):
                raise Failure(f"{short(program)} is missing; run: {remedy}")

    def start_nats(self) -> None:
        config = self.folder / "nats.conf"
        config.write_text(NATS_CONFIG.format(client_port=port(self.nats), monitor_port=port(self.monitor)))
        self.stage.start("nats-server", [TOOLS / "nats-server-2.15", "--config", config])
        self.stage.wait(f"{self.monitor}/healthz", 15)
        version = get_json(f"{self.monitor}/varz")["version"]
        say(f"nats-server {version} is up: clients at {self.nats}, monitoring at {self.monitor}")

    def start_connwarden(self) -> None:
        (self.folder / "password").write_text("demo\n")
        config = self.folder / "connwarden.yml"
        text = CONNWARDEN_CONFIG.format(
            port=port(self.server),
            folder=self.folder,
            monitor=self.monitor,
            nats=self.nats,
            alertmanager=self.alertmanager,
            leak=self.people.leak,
            batch=-(-self.people.victims // BATCHES),
        )
        config.write_text(text)
        self.stage.start("connwarden", [self.connwarden, "serve", "--config.file", config])
        self.stage.wait(f"{self.server}/-/ready", 20)
        say(f"connwarden is ready at {self.server}")

    def start_alertmanager(self) -> None:
        config = self.folder / "alertmanager.yml"
        config.write_text(ALERTMANAGER_CONFIG.format(connwarden=self.server))
        command = [TOOLS / "alertmanager", f"--config.file={config}", f"--storage.path={self.folder / 'alertmanager'}"]
        command += [f"--web.listen-address=127.0.0.1:{port(self.alertmanager)}", "--cluster.listen-address="]
        self.stage.start("alertmanager", command)
        self.stage.wait(f"{self.alertmanager}/-/ready", 20)
        say(f"Alertmanager is up at {self.alertmanager}, connwarden will be its receiver")

    def start_swarm(self) -> None:
        count, leak = self.people.count, self.people.leak
        command: list[str | Path] = [self.swarm, "--servers", self.nats, "--count", str(count)]
        command += ["--names", "orders-api-{pod}:5,billing-{pod}:3,checkout-web-{n}:2,:1"]
        command += ["--source-ips", "127.0.0.2-127.0.0.21"]
        command += ["--users", "alice/demo:3,bob/demo:2,carol/demo:1"]
        command += ["--leak-rate", str(LEAK_PER_SECOND), "--leak-max", str(leak)]
        command += ["--leak-name", CULPRIT + "-{pid}", "--leak-source-ip", "127.0.0.77"]
        command += ["--no-reconnect"]
        swarm = self.stage.start("swarm", command)
        say(f"{count:,} clients of four applications connect; {CULPRIT} leaks {LEAK_PER_SECOND} connections a second")
        next_word = time.monotonic() + 3

        def all_up() -> bool:
            nonlocal next_word
            connections = len(self.clients())
            if time.monotonic() >= next_word:
                next_word += 3
                say(f"  {connections:,} connections")
            return connections >= count + leak

        self.stage.until(all_up, 90, f"{count + leak} connections did not come up", swarm)
        say(f"all {count + leak:,} connections are up, {leak:,} of them leaked: {CULPRIT} opened them and forgot them")

    def clients(self) -> dict[int, str]:
        """The names of all clients but connwarden, by connection number."""
        connections = get_json(f"{self.monitor}/connz?auth=true&limit={MANY_CONNECTIONS}")["connections"]
        return {it["cid"]: it.get("name", "") for it in connections if it.get("authorized_user") != "warden"}

    def strangers(self) -> set[int]:
        """The connections of everybody but the culprit."""
        return {number for number, name in self.clients().items() if not name.startswith(CULPRIT)}

    # ------------------------------------------------------------ the alert

    def fire(self) -> None:
        """Posts the alert, as Prometheus does when its rule holds."""
        value, connections = self.value(), len(self.clients())
        self.started_at = datetime.now(timezone.utc).isoformat()
        say(f"the rule is {METRIC} > {self.people.threshold}, and it holds")
        if value < connections:
            say(
                f"its value is {value:,}, not {connections:,}: the exporter counts one page of /connz, "
                f"and no page is longer than {METRIC_SATURATES_AT:,}"
            )
        self.post(value, None)
        say(f"{ALERT} is posted to Alertmanager, which notifies connwarden after 1 s")

    def value(self) -> int:
        """What the exporter would count: the length of one page."""
        return get_json(f"{self.monitor}/connz")["num_connections"]

    def post(self, value: int, ends_at: str | None) -> None:
        threshold = self.people.threshold
        expression = urllib.parse.urlencode({"g0.expr": f"{METRIC} > {threshold}", "g0.tab": 1})
        alert = {
            "labels": {
                "alertname": ALERT,
                "instance": "127.0.0.1:7777",
                "job": "nats",
                "server_id": self.monitor,
                "severity": "warning",
            },
            "annotations": {
                "summary": "NATS high number of connections (instance 127.0.0.1:7777)",
                "description": f"NATS server {self.monitor} has more than {threshold} active connections. "
                f"VALUE = {value}",
            },
            "startsAt": self.started_at,
            "generatorURL": f"http://prometheus.invalid/graph?{expression}",
        }
        if ends_at:
            alert["endsAt"] = ends_at
        try:
            post_json(f"{self.alertmanager}/api/v2/alerts", [alert])
        except OSError as error:
            text = f"Alertmanager did not take the alert: {error}"
            raise Failure(text, self.stage.process("alertmanager")) from None

    def wait_for_incident(self) -> dict:
        """Waits until there is an incident for the alert, with a diagnosis that names a culprit."""
        incident: dict = {}

        def diagnosed() -> bool:
            nonlocal incident
            incidents = get_json(f"{self.server}/api/v1/incidents")["incidents"]
            if not incidents:
                return False
            incident = get_json(f"{self.server}/api/v1/incidents/{incidents[0]['id']}")
            return incident.get("culprit") is not None

        def missing() -> str:
            return "the incident never got a culprit" if incident else "no incident appeared"

        self.stage.until(diagnosed, 30, missing, self.stage.process("connwarden"))
        say(f"connwarden has incident {incident['id']}, has looked at the server and at the evidence")
        return incident

    # ------------------------------------------------------------ what connwarden says

    def show_incident(self, incident: dict) -> None:
        text = self.ask("incidents", "show", incident["id"])
        headline = text.split("\nincident ")[0].strip("\n")
        write(f"{headline}\n\n{excerpt(text, [('DIAGNOSIS', 8), ('CULPRIT', 4)])}\n\nWHAT TO DO")
        for place, recommendation in enumerate(incident["diagnosis"]["recommendations"], start=1):
            write(f"{place}. {recommendation['title']}")
        write("")

    def check_culprit(self, incident: dict) -> None:
        culprit = incident["culprit"]
        if (culprit["dimension"], culprit["key"]) != ("application", CULPRIT):
            text = f"the culprit is {CULPRIT}, but the incident says {culprit['dimension']} {culprit['key']}"
            raise Failure(text, self.stage.process("connwarden"))
        connections = incident["diagnosis"]["culprits"][0]["connections"]
        say(f"right: {CULPRIT} is named as the culprit, with {connections:,} connections")

    def plan(self, incident_id: str) -> dict:
        say(f"ask those without traffic to leave, cut those that stay, and keep {self.people.keep} in case they work")
        command = ["plan", "drain", "--incident", incident_id, "--application", CULPRIT, "--no-traffic"]
        command += ["--keep", str(self.people.keep), "--reason", "leak of report-worker"]
        text = self.ask(*command)
        write(excerpt(text, [("mitigation ", 9), ("plan", 99), ("guards", 99), ("victims", 6)]) + "\n")
        plans = get_json(f"{self.server}/api/v1/mitigations?incident={incident_id}")["mitigations"]
        plan = get_json(f"{self.server}/api/v1/mitigations/{plans[0]['id']}")
        if plan["victim_count"] != self.people.victims:
            text = f"the plan should hit {self.people.victims} connections, and hits {plan['victim_count']}"
            raise Failure(text, self.stage.process("connwarden"))
        say(f"right: it names {plan['victim_count']:,} connections of {CULPRIT}, and no guard blocks it")
        return plan

    def approve(self, plan: dict) -> None:
        identity, digest = plan["id"], plan["plan"]["digest"]
        self.act("propose", identity, digest)
        # over the API, which `connwarden mitigations approve` asks too
        url, token = f"{self.server}/api/v1/mitigations/{identity}/approve", self.folder / "data/operator-token"
        body = {"digest": digest, "reason": "seen by two"}
        prompt(["curl", url, "--oauth2-bearer", f"$(cat {token})", "--json", shlex.quote(json.dumps(body))])
        try:
            answer = json.loads(post_json(url, body, token.read_text().strip()))
        except OSError as error:
            raise Failure(f"the approval was refused: {error}", self.stage.process("connwarden")) from None
        say(f"mitigation {identity} is {answer['state']}")
        self.act("execute", identity, digest)

    def act(self, act: str, identity: str, digest: str) -> None:
        answer = self.ask("mitigations", act, identity, "--digest", digest)
        say(answer.splitlines()[0])

    def wait_for_run(self, identity: str) -> None:
        """Tells how the run goes on, batch by batch, until all victims were dealt with."""
        told: dict = {}

        def dealt_with() -> bool:
            nonlocal told
            mitigation = get_json(f"{self.server}/api/v1/mitigations/{identity}")
            if mitigation["state"] not in ("running", "verifying"):
                raise Failure(f"the run is {mitigation['state']}", self.stage.process("connwarden"))
            progress = mitigation["progress"]
            if progress != told and "sent" not in progress:
                told = progress
                self.tell_progress(progress)
            return mitigation["state"] == "verifying"

        self.stage.until(dealt_with, 90, "the run did not come to its end", self.stage.process("connwarden"))

    def tell_progress(self, progress: dict) -> None:
        asked = self.people.victims - progress.get("pending", 0)
        gone = progress.get("confirmed", 0) + progress.get("left", 0)
        if asked > 0:
            say(f"  {asked:,} asked to leave, {gone:,} cut: {len(self.clients()):,} connections on the server")

    def wait_for_end(self, incident_id: str, identity: str) -> None:
        """Posts the end of the alert when its rule does not hold any more, and waits for what connwarden makes of it."""
        connwarden = self.stage.process("connwarden")
        self.stage.until(
            lambda: self.value() <= self.people.threshold, 30, "the count did not fall", self.stage.process("swarm")
        )
        value = self.value()
        say(f"{METRIC} is {value}, so the rule does not hold any more: the alert is resolved")
        self.post(value, datetime.now(timezone.utc).isoformat())
        incident: dict = {}
        mitigation: dict = {}

        def resolved() -> bool:
            nonlocal incident
            incident = get_json(f"{self.server}/api/v1/incidents/{incident_id}")
            return incident["state"] == "resolved"

        def finished() -> bool:
            nonlocal mitigation
            mitigation = get_json(f"{self.server}/api/v1/mitigations/{identity}")
            return mitigation["state"] == "finished"

        self.stage.until(resolved, 60, lambda: f"the incident is still {incident['state']}", connwarden)
        if incident["resolution"] != "verified":
            raise Failure(f"the incident is resolved, but {incident['resolution']}", connwarden)
        say("right: the incident is resolved (verified): connwarden has counted, twice, before it believed it")
        self.stage.until(finished, 60, lambda: f"the mitigation is still {mitigation['state']}", connwarden)
        write("")
        text = self.ask("mitigations", "show", identity)
        write(excerpt(text, [("mitigation ", 9), ("  progress", 9)]) + "\n")
        if mitigation["outcome"] != "effective":
            raise Failure(f"the mitigation was {mitigation['outcome']}", connwarden)
        say(
            "right: it was effective, because nobody tends these connections; a client that is tended would have "
            "been back within seconds, and connwarden would have said: ineffective"
        )

    def check_strangers(self, before: set[int]) -> None:
        lost = before - self.strangers()
        if lost:
            raise Failure(f"{len(lost)} connections of others are gone", self.stage.process("nats-server"))
        say(f"right: all {len(before):,} connections of the other applications are still there")

    def show_timeline(self, incident_id: str, identity: str) -> None:
        """Tells the incident's timeline in short: the times without their day, and the mitigation without its id."""
        heading("The incident, from its alert to its end")
        for entry in get_json(f"{self.server}/api/v1/incidents/{incident_id}")["timeline"]:
            at = datetime.fromisoformat(entry["at"].replace("Z", "+00:00"))
            text = entry["text"].replace(f"mitigation {identity}: ", "")
            tell(f"{at:%H:%M:%S}  {entry['actor']:<19}  ", text)

    def ask(self, *words: str) -> str:
        """Runs `connwarden`, as a person would, and returns what it says."""
        prompt(["connwarden", *map(shlex.quote, words)])
        where = {"CONNWARDEN_SERVER": self.server, "CONNWARDEN_STORAGE_PATH": str(self.folder / "data")}
        command = f"`connwarden {' '.join(words[:2])}`"
        try:
            status, text = output_of([str(self.connwarden), *words], {**ENVIRONMENT, **where})
        except (OSError, TimeoutError) as error:
            raise Failure(f"{command} failed: {error}", self.stage.process("connwarden")) from None
        if status != 0:
            write(text)
            raise Failure(f"{command} exited with {status}", self.stage.process("connwarden"))
        return text

    # ------------------------------------------------------------ afterwards

    def where_to_look(self, incident_id: str, identity: str) -> None:
        heading("Where to look, while it runs")
        for what, where in (
            ("incident", f"{self.server}/incidents/{incident_id}"),
            ("mitigation", f"{self.server}/mitigations/{identity}"),
            ("as JSON", f"{self.server}/api/v1/incidents/{incident_id}"),
            ("NATS", f"{self.monitor}/connz?auth=true&limit=10"),
            ("Alertmanager", f"{self.alertmanager}/#/alerts"),
            ("configuration", str(self.folder / "connwarden.yml")),
            ("logs", str(self.folder / "logs")),
        ):
            write(f"  {what:<13}  {where}")
        write("\nThe commands above, in another terminal, after:\n")
        write(f"  export PATH={self.bin_dir}:$PATH")
        write(f"  export CONNWARDEN_SERVER={self.server}")
        write(f"  export CONNWARDEN_STORAGE_PATH={self.folder / 'data'}\n")

    def stay(self) -> None:
        say("running; Ctrl-C ends everything")
        while True:
            time.sleep(0.5)
            self.stage.need_running()


class Population:
    """How many connections there are, within this machine's limit of descriptors per process."""

    def __init__(self, room: int):
        def share(of: int) -> int:
            return of * room // (COUNT + LEAK)

        self.count, self.leak, self.keep, self.threshold = map(share, (COUNT, LEAK, KEEP, THRESHOLD))
        self.victims = self.leak - self.keep

    @classmethod
    def for_this_machine(cls) -> Population:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            # The programs that are started inherit it.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        everybody = COUNT + LEAK
        room = everybody if hard == resource.RLIM_INFINITY else min(everybody, hard - SPARE_DESCRIPTORS)
        if room < FEWEST_CONNECTIONS:
            needed = FEWEST_CONNECTIONS + SPARE_DESCRIPTORS
            text = f"this machine allows {hard} open files per process, at least {needed} are needed (ulimit -Hn)"
            raise Failure(text)
        if room < everybody:
            say(f"this machine allows {hard} open files per process (ulimit -Hn), so everything is smaller:")
            say(f"  {room} connections instead of {everybody}")
        return cls(room)


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def short(path: str | Path) -> str:
    """Writes a path below the current folder without it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
