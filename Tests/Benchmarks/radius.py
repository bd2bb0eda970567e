"""FreeRADIUS with rlm_ldap, binds only: the peer that sign-ins are compared with. Nothing of its own is searched: LDAP-UserDN is preset."""
import re
import resource
import subprocess
import time

import house


class FreeRADIUS:
    SECRET = "benchmark"

    def __init__(self, built, uri):
        self.folder = built.folder / ("radius-" + uri.split(":")[0])
        self.folder.mkdir()
        self.port = house.free_port()
        directory = built.directory
        (self.folder / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
        (self.folder / "radiusd.conf").write_text(f"""\
prefix = /usr
libdir = /usr/lib/freeradius
logdir = {self.folder}
run_dir = {self.folder}
pidfile = {self.folder}/radiusd.pid
max_requests = 65536
hostname_lookups = no
log {{
  destination = files
  file = {self.folder}/radius.log
  auth = no
}}
security {{
  reject_delay = 0
  status_server = no
}}
thread pool {{
  start_servers = 16
  max_servers = 16
  min_spare_servers = 3
  max_spare_servers = 16
  max_queue_size = 65536
}}
client localhost {{
  ipaddr = 127.0.0.1
  secret = {self.SECRET}
}}
modules {{
  ldap {{
    server = '{uri}'
    identity = 'cn=service,{directory.BASE}'
    password = service-password
    base_dn = '{directory.BASE}'
    user {{
      base_dn = "${{..base_dn}}"
      filter = "(uid=%{{User-Name}})"
    }}
    options {{
      chase_referrals = no
    }}
    tls {{
      ca_file = {built.tls}/ca.pem
      require_cert = 'demand'
    }}
    pool {{
      start = 8
      min = 8
      max = 16
      spare = 8
      uses = 0
      lifetime = 0
      idle_timeout = 0
    }}
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {self.port}
  }}
  authorize {{
    update control {{
      LDAP-UserDN := "uid=%{{User-Name}},{directory.BASE}"
      Auth-Type := ldap
    }}
  }}
  authenticate {{
    Auth-Type ldap {{
      ldap
    }}
  }}
}}
""")
        self.requests = self.folder / "requests"
        lines = [line.split("\t") for line in directory.people.read_text().splitlines()]
        self.people = len(lines)
        self.requests.write_text("\n".join(f'User-Name = "{name.split("@")[0]}"\nUser-Password = "{password}"\n' for name, password in lines))
        self.server = house.Server("freeradius", ["/usr/sbin/freeradius", "-f", "-d", self.folder, "-n", "radiusd"], self.folder / "output")

    def start(self):
        self.server.start()
        house.until("FreeRADIUS' start", lambda: not self.server.runs or self._send(1, 4)["accepted"] > 0)
        if not self.server.runs:
            raise house.Problem(f"freeradius ended: {self.server.tail()} {(self.folder / 'radius.log').read_text()[-2000:]}")
        return self

    def _send(self, times, parallel):
        began = time.monotonic()
        result = subprocess.run(
            ["radclient", "-q", "-s", "-c", str(times), "-p", str(parallel), "-r", "2", "-t", "3", "-f", str(self.requests),
             f"127.0.0.1:{self.port}", "auth", self.SECRET], capture_output=True, text=True)
        seconds = time.monotonic() - began
        counts = {word.lower(): int(count) for word, count in re.findall(r"(Accepted|Rejected|Lost)\s*:\s*(\d+)", result.stdout + result.stderr)}
        return {"accepted": counts.get("accepted", 0), "refused": counts.get("rejected", 0), "lost": counts.get("lost", 0), "seconds": seconds}

    def run(self, seconds):
        """Binds for about so long; answers the rate of those that were accepted."""
        # The first batch warms up and says how many make one of some seconds: radclient's own start shall not weigh on the peer.
        first = self._send(4, 32)
        times = max(4, int(4 * min(seconds, 3) / first["seconds"]))
        before, began = self.server.usage(), time.monotonic()
        client = resource.getrusage(resource.RUSAGE_CHILDREN)
        accepted = bad = 0
        used = 0.0
        while time.monotonic() - began < seconds:
            result = self._send(times, 32)
            accepted += result["accepted"]
            bad += result["refused"] + result["lost"]
            used += result["seconds"]
            times = max(4, int(times * min(seconds, 3) / result["seconds"]))
        after = self.server.usage()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = spent.ru_utime + spent.ru_stime - client.ru_utime - client.ru_stime
        return {
            "rate": accepted / used, "accepted": accepted, "bad": bad, "cpu": (after["cpu"] - before["cpu"]) / max(1, accepted) * 1000, "rss": after["rss"],
            "driver": client / max(1, accepted) * 1000,
        }
