"""An Active Directory domain (Samba, by deploy/sample-domain) with many people, in the place of slapd: where the directory's own lockout matters."""
import os
import pathlib
import random
import re
import subprocess

import house


class DomainController(house.Server):
    """Samba. It lives as long as the standard input of the script that started it is open, hence no longer than this program."""

    def __init__(self, folder, address, log, extra):
        tool = house.REPOSITORY / "deploy/sample-domain"
        super().__init__("samba", [tool, "up", "--dir", folder, "--ip", address, "--until-stdin-closes", "--", *extra], log)
        self.settings = {}

    def start(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        house.until("the domain's start", lambda: not self.runs or "PEOPLE_FILE=" in self.tail(), 90)
        if not self.runs:
            raise house.Problem(f"the domain did not start: {self.tail()}")
        self.settings = dict(line.split("=", 1) for line in self.tail().splitlines() if re.match(r"[A-Z0-9_]+=", line))
        return self

    @property
    def pid(self):
        """Samba's own, not that of the script around it."""
        return int(self.settings["AD_PID"])

    def signal(self, number):
        if self.runs:
            os.kill(self.pid, number)

    def stop(self, patience=30):
        if not self.runs:
            return
        self.process.stdin.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(patience)

    kill = stop


class ActiveDirectory:
    """A domain that locks people for half an hour after so many wrong passwords within half an hour."""

    PACKAGES = ("domain",)
    # Ours is as it comes, and is drawn in to what the directory's own leaves.
    LOCKOUT = ""
    THRESHOLD = 5
    REALM = "gatehouse.test"

    def __init__(self, folder, tls, users=5000, seed=1, realms=(REALM,)):
        self.folder, self.realms = pathlib.Path(folder), realms
        self.folder.mkdir(parents=True)
        self.people = self.folder / "people.tsv"
        generator = random.Random(seed)
        self.people.write_text("".join(f"u{number:05d}@{self.REALM}\t{house.right_password(generator)}\n" for number in range(users)))
        # Samba's ports are fixed, so that every run takes a loopback address of its own.
        process = os.getpid()
        # Who signed in and who did not, by Samba's own account; whole, not the last five megabytes.
        self.server = DomainController(
            self.folder / "domain", f"127.25.{process // 200 % 200 + 1}.{process % 200 + 1}", self.folder / "domain.log",
            ["log level = 1 auth_audit:3", "max log size = 0"])

    def __getitem__(self, key):
        return self.server.settings[key]

    def start(self):
        self.server.start()
        # The sample domain's people are few, and bring the account that searches and the policy with them.
        self._run(house.REPOSITORY / "deploy/sample-domain", "people", "--dir", self.folder / "domain", "--lockout-threshold", self.THRESHOLD)
        self._run(house.REPOSITORY / "Tests/Benchmarks/add-people", self["AD_SMBCONF"], self.people)
        return self

    def _run(self, *command):
        result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if result.returncode != 0:
            raise house.Problem(f"{command[0]} ended with {result.returncode}: {result.stdout[-1000:]}{result.stderr[-2000:]}")
        return result.stdout

    @property
    def doors(self):
        return [f"{self['AD_HOST']}:636@{self['AD_IP']}"]

    def agent_realm(self, realm, doors):
        """What stands for a realm in an agent's configuration. `doors`: servers as an agent's configuration names them."""
        return f"""\
  - realm: {realm}
    servers: [{", ".join(f'"{door}"' for door in doors)}]
    caFile: '{self["AD_CA"]}'
    searchBases: ["{self["AD_BASE"]}"]
    netBIOSName: {self["AD_NETBIOS"]}
    service: {{bindName: '{self["SERVICE_DN"]}', passwordFile: '{self["SERVICE_PASSWORD_FILE"]}'}}
"""

    def standing(self):
        """Of each person what the directory's database says, by ldbsearch: badPwdCount, lockoutTime, and whether it calls them locked (MS-ADTS
        3.1.1.4.5.17, msDS-User-Account-Control-Computed, UF_LOCKOUT)."""
        output = self._run(
            "ldbsearch", "-H", self["AD_SAM"], "-s", "sub", "-b", "OU=people," + self["AD_BASE"], "(objectClass=user)", "sAMAccountName", "badPwdCount",
            "lockoutTime", "msDS-User-Account-Control-Computed")
        people = {}
        for entry in output.split("\n\n"):
            values = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and not line.startswith("#"))
            if name := values.get("sAMAccountName"):
                people[name] = {
                    "badPwdCount": int(values.get("badPwdCount", 0)), "lockoutTime": int(values.get("lockoutTime", 0)),
                    "locked": int(values.get("msDS-User-Account-Control-Computed", 0)) & 0x10 != 0,
                }
        return people

    def judged(self):
        """How often Samba itself answered what to a bind as one of the people, by its log: NT_STATUS_… to a number."""
        found = {}
        with open(self.folder / "domain/log/samba.log", errors="replace") as log:
            for line in log:
                if (match := re.search(r"OU=people.* status \[(NT_STATUS_\w+)\]", line)) and "Auth:" in line:
                    found[match[1]] = found.get(match[1], 0) + 1
        return found
