"""The house that the benchmarks measure: slapd with people, a gateway with its store on the disk, and agents. Used by environment, speed, soak and spray.

The directory may be another one than slapd: domain.py has an Active Directory domain.

Everything listens on loopback, is tied to the life of this program (setpriv --pdeathsig), and is ended by its process id.
"""
import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Problem(Exception):
    """Something that the person at the keyboard can mend."""


def need_packages(*lists):
    """Installs what the benchmarks need and is missing, as Tests/run does."""
    result = subprocess.run(
        ["bash", "-c", 'set -e; . "$1"; shift; need_packages run "$@"', "bash", REPOSITORY / "deploy/packages", *lists])
    if result.returncode != 0:
        raise Problem("the packages above are missing")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def until(what, condition, seconds=30, pause=0.05):
    """Waits until the condition holds; fails where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Problem(f"{what} did not happen within {seconds} s")
        time.sleep(pause)


class Server:
    """One process that is measured, with its log file."""

    def __init__(self, name, command, log, environment=None):
        self.name, self.command, self.log, self.environment = name, [str(word) for word in command], pathlib.Path(log), environment
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            # The thread that starts it is the one whose end would end it: only the main thread starts servers.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**os.environ, "SWIFT_BACKTRACE": "enable=no", **(self.environment or {})})
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.runs:
            self.process.send_signal(number)

    def kill(self):
        if self.runs:
            self.process.kill()
            self.process.wait()

    def stop(self, patience=15):
        if not self.runs:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def usage(self):
        """CPU seconds, resident bytes, descriptors and threads; None where it does not run."""
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return {
                "cpu": (int(fields[11]) + int(fields[12])) / TICKS, "rss": int(fields[21]) * PAGE, "threads": int(fields[17]),
                "fds": len(os.listdir(f"/proc/{self.pid}/fd")),
            }
        except (OSError, AttributeError, IndexError):
            return None

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


def right_password(generator):
    return "Right." + "".join(generator.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=10))


class Directory:
    """slapd: mdb, {SSHA}, indices; ldap:// and ldaps:// on loopback."""

    BASE = "dc=bench,dc=test"
    PACKAGES = ("benchmark",)
    # Wrong passwords are part of the load: they shall not lock anybody here.
    LOCKOUT = "lockout: {threshold: 100, window: 60s, firstLock: 1s}"

    def __init__(self, folder, tls, users=1000, seed=1, realms=("bench.test",)):
        self.folder, self.tls, self.realms = pathlib.Path(folder), pathlib.Path(tls), realms
        self.port, self.tls_port = free_port(), free_port()
        self.server = None
        self.folder.mkdir(parents=True)
        (self.folder / "data").mkdir()
        self.people = self.folder / "people.tsv"
        self._write(users, random.Random(seed))

    @property
    def url(self):
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self):
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def doors(self):
        """What agents connect to where nothing else is said."""
        return [self.tls_port]

    def agent_realm(self, realm, doors):
        """What stands for a realm in an agent's configuration. `doors`: ports on loopback, in their order."""
        return f"""\
  - realm: {realm}
    kind: openLDAP
    servers: [{", ".join(f'"127.0.0.1:{port}"' for port in doors)}]
    caFile: '{self.tls}/ca.pem'
    searchBases: ["{self.BASE}"]
    service: {{bindName: 'cn=service,{self.BASE}', passwordFile: '{self.folder}/service.password'}}
"""

    def _write(self, users, generator):
        (self.folder / "slapd.conf").write_text(f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {self.folder}/slapd.pid
loglevel 0
threads 8
TLSCACertificateFile {self.tls}/ca.pem
TLSCertificateFile {self.tls}/public.pem
TLSCertificateKeyFile {self.tls}/public.key
database mdb
maxsize 1073741824
suffix "{self.BASE}"
directory {self.folder}/data
index objectClass,uid,mail,member,entryUUID eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=service,{self.BASE}" read by self read by * none
""")
        entries = [
            f"dn: {self.BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Bench\ndc: bench\n",
            f"dn: cn=service,{self.BASE}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: service\n"
            "userPassword: service-password\n",
        ]
        lines = []
        for number in range(users):
            name, realm, password = f"u{number:05d}", self.realms[number % len(self.realms)], right_password(generator)
            salt = generator.randbytes(8)
            stored = base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()
            entries.append(
                f"dn: uid={name},{self.BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: Person {number}\nsn: Person\n"
                f"mail: {name}@{realm}\nuserPassword: {{SSHA}}{stored}\n")
            lines.append(f"{name}@{realm}\t{password}\n")
        (self.folder / "people.ldif").write_text("\n".join(entries))
        self.people.write_text("".join(lines))
        (self.folder / "service.password").write_text("service-password\n")
        (self.folder / "service.password").chmod(0o600)
        result = subprocess.run(
            ["/usr/sbin/slapadd", "-q", "-f", self.folder / "slapd.conf", "-l", self.folder / "people.ldif"], capture_output=True, text=True)
        if result.returncode != 0:
            raise Problem(f"slapadd failed: {result.stderr[-2000:]}")

    def start(self):
        if self.server is None:
            self.server = Server(
                "slapd", ["/usr/sbin/slapd", "-d", "0", "-f", self.folder / "slapd.conf", "-h", f"{self.url}/ {self.tls_url}/"],
                self.folder / "slapd.log")
        self.server.start()
        until("slapd's start", lambda: listens(self.port) and listens(self.tls_port))
        return self


class Agent:
    def __init__(self, house, name, servers, pools=None, polls=None, extra=""):
        self.house, self.name = house, name
        self.folder = house.folder / f"agent-{name}"
        (self.folder / "data").mkdir(parents=True, mode=0o700)
        self.configuration = self.folder / "agent.yaml"
        directory = house.directory
        realms = "".join(
            directory.agent_realm(realm, servers[realm]) + (f"    pools: {{{pools}}}\n" if pools else "") for realm in directory.realms)
        self.configuration.write_text(f"dataDirectory: data\nname: {name}\n{f'polls: {polls}' if polls else ''}\nrealms:\n{realms}\n{extra}\n")
        self.server = Server(name, [house.program, "agent", "run", "--config", self.configuration], self.folder / "log")

    def enrol(self):
        words = [word for realm in self.house.directory.realms for word in ("--realm", realm)]
        token = self.house.admin("agents", "token", *words)["token"]
        result = subprocess.run(
            [self.house.program, "agent", "enrol", "--config", self.configuration, "--token", "-"], input=token + "\n", capture_output=True, text=True)
        if result.returncode != 0:
            raise Problem(f"agent {self.name} was not enrolled: {result.stdout}{result.stderr}")


class House:
    """A gateway, its agents and their directory. Use it as a context: it ends everything, however that went.

    `directory`: the class of the directory, slapd or `domain.ActiveDirectory`.
    """

    def __init__(self, folder, program, users=1000, realms=("bench.test",), gateway_extra="", seed=1, directory=Directory):
        self.folder, self.program = pathlib.Path(folder).resolve(), pathlib.Path(program).resolve()
        if not os.access(self.program, os.X_OK):
            raise Problem(f"{self.program} cannot be run; build it: swift build -c release --product gatehouse --product LoadDriver")
        self.users, self.realms, self.gateway_extra, self.seed = users, realms, gateway_extra, seed
        self.kind, self.agents, self.directory, self.gateway, self.others = directory, [], None, None, []

    def __enter__(self):
        need_packages(*self.kind.PACKAGES)
        os.umask(0o077)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.tls = self.folder / "tls"
        try:
            subprocess.run(
                [REPOSITORY / "certs/generate", "--out", self.tls, "--name", "localhost", "--name", "127.0.0.1"], check=True, capture_output=True)
            self.directory = self.kind(self.folder / "directory", self.tls, self.users, self.seed, self.realms)
            self.directory.start()
            self._begin_gateway()
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def close(self):
        for other in self.others:
            other.stop()
        for agent in self.agents:
            agent.server.signal(signal.SIGCONT)
            agent.server.signal(signal.SIGTERM)
        for agent in self.agents:
            agent.server.stop()
        if self.gateway:
            self.gateway.stop()
        if self.directory and self.directory.server:
            self.directory.server.stop()

    def _begin_gateway(self):
        self.port, self.mutual_port, self.operations_port = free_port(), free_port(), free_port()
        home = self.folder / "gateway"
        (home / "data").mkdir(parents=True, mode=0o700)
        self.socket = home / "data/admin.sock"
        (home / "gateway.yaml").write_text(f"""\
node: bench
publicURL: {self.url}
dataDirectory: data
listeners:
  public:
    address: 127.0.0.1:{self.port}
    certificate: {self.tls}/public.pem
    key: {self.tls}/public.key
  mutualTLS:
    address: 127.0.0.1:{self.mutual_port}
    names: [localhost, 127.0.0.1]
    url: https://127.0.0.1:{self.mutual_port}
  operations:
    address: 127.0.0.1:{self.operations_port}
{self.directory.LOCKOUT}
limits: {{connectionsPerAddress: 4096}}
{self.gateway_extra}
""")
        self.gateway = Server("gateway", [self.program, "serve", "--config", home / "gateway.yaml"], home / "log")
        self.start_gateway()
        for number, realm in enumerate(self.realms):
            self.admin("realms", "add", realm, "--suffix", realm, *(["--default"] if number == 0 else []))
        words = [word for realm in self.realms for word in ("--realm", realm)]
        issued = self.admin("front-ends", "add", "portal", *words, "--rate", "100000")
        self.key = self.folder / "front-end.curl"
        self.key.write_text(f'header = "Authorization: Bearer {issued["apiKey"]}"\n')

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def start_gateway(self):
        self.gateway.start()
        until("the gateway's start", lambda: self.is_ready() or not self.gateway.runs)
        if not self.gateway.runs:
            raise Problem(f"the gateway ended: {self.gateway.tail()}")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.operations_port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def admin(self, *words):
        """A command of the admin tool; answers its JSON. `status` ends with 1 where there are alarms, and counts all the same."""
        result = subprocess.run([self.program, *words, "--json", "--socket", self.socket], capture_output=True, text=True)
        try:
            return json.loads(result.stdout)
        except ValueError:
            raise Problem(f"gatehouse {' '.join(words)} ended with {result.returncode}: {result.stdout}{result.stderr}") from None

    def connected(self):
        return {agent["name"]: agent for agent in self.admin("agents", "list") if agent["connected"]}

    def move_in(self, names, ports=None, pools=None, polls=None):
        """Enrols agents, starts them, and waits until the gateway sees them all. `ports`: of their directory servers, in their order."""
        servers = ports if isinstance(ports, dict) else {realm: ports or self.directory.doors for realm in self.realms}
        moved = [Agent(self, name, servers, pools, polls) for name in names]
        self.agents += moved
        with concurrent.futures.ThreadPoolExecutor(3) as several:
            list(several.map(Agent.enrol, moved))
        for agent in moved:
            agent.server.start()
        wanted = {agent.name for agent in moved}
        until("the agents' connecting", lambda: wanted <= set(self.connected()), seconds=30 + len(moved), pause=0.3)
        return moved

    def move_out(self, agents):
        """Ends agents for good."""
        for agent in agents:
            agent.server.signal(signal.SIGTERM)
        for agent in agents:
            agent.server.stop()
            self.agents.remove(agent)
        gone = {agent.name for agent in agents}
        for agent in self.admin("agents", "list"):
            if agent["name"] in gone:
                subprocess.run([self.program, "agents", "revoke", agent["id"], "--socket", self.socket], capture_output=True)

    @property
    def servers(self):
        return [self.directory.server, self.gateway, *(agent.server for agent in self.agents)]

    def usage(self):
        return {server.name: server.usage() for server in self.servers if server.runs}


class Driver:
    """The load driver with what it needs to know of a house."""

    def __init__(self, program, house):
        self.program, self.house = pathlib.Path(program).resolve(), house
        if not os.access(self.program, os.X_OK):
            raise Problem(f"{self.program} cannot be run; build it: swift build -c release --product LoadDriver")

    def command(self, *words):
        house = self.house
        return [str(word) for word in (
            self.program, "--url", house.url, "--ca", house.tls / "ca.pem", "--key", house.key, "--people", house.directory.people, "--json", *words)]

    def raw_command(self, uri, *words):
        house = self.house
        return [str(word) for word in (
            self.program, "--raw-bind", uri, "--ca", house.tls / "ca.pem", "--people", house.directory.people,
            "--bind-name", "uid={name}," + house.directory.BASE, "--json", *words)]

    def run(self, *words):
        """One run to its end; answers its report, whatever it came to. Only the last line is the report."""
        return self.finish(subprocess.run(self.command(*words), capture_output=True, text=True))

    def raw(self, uri, *words):
        return self.finish(subprocess.run(self.raw_command(uri, *words), capture_output=True, text=True))

    def finish(self, result):
        try:
            report = json.loads(result.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise Problem(f"the load driver ended with {result.returncode}: {result.stdout[-1000:]}{result.stderr[-1000:]}") from None
        report["bad"] = result.returncode != 0
        return report


class Lines(threading.Thread):
    """The lines of a load driver that runs: one a stream each time it tells how it goes, and the report at the end."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.seconds, self.report = stream, [], None

    def run(self):
        for line in self.stream:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if "parts" in value:
                self.report = value
            else:
                self.seconds.append(value)


def default_programs():
    """gatehouse and LoadDriver of the release build."""
    folder = REPOSITORY / ".build/release"
    return folder / "gatehouse", folder / "LoadDriver"
