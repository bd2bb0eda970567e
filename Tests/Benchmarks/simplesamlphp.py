"""SimpleSAMLphp under nginx and php-fpm: the identity provider that answers to relying parties are compared with.

As fast as it can be made without changing it: four workers, opcode cache without checks of the files, sessions in memory, errors logged and nothing else.
"""
import html
import http.cookiejar
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import urllib.parse
import urllib.request

import house

PERSON, PASSWORD = "alice", "Correct.Horse.1"


class SimpleSAMLphp:
    ENTITY = "https://peer.example.test/idp"

    def __init__(self, folder, tls, parties, realms=(), workers=4, sessions=32):
        """`parties`: (entity identifier, assertion consumer service, whether the response is signed, too); `realms`, which speak WS-Federation to its module
        adfs: (realm, where answers go)."""
        self.folder, self.sessions = pathlib.Path(folder).resolve(), sessions
        self.port, self.tls_port = house.free_port(), house.free_port()
        self.memory = pathlib.Path(f"/dev/shm/gatehouse-tokens-{os.getpid()}")
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("configuration", "metadata", "log", "temporary"):
            (self.folder / name).mkdir(parents=True)
        self.memory.mkdir(mode=0o700)
        folder = self.folder
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=idp", "-keyout", folder / "idp.key", "-out",
             folder / "idp.crt"], check=True, capture_output=True)
        (folder / "configuration/config.php").write_text(f"""<?php
$config = [
  'baseurlpath' => '/', 'certdir' => '{folder}/', 'loggingdir' => '{folder}/log/', 'datadir' => '{folder}/', 'tempdir' => '{folder}/temporary',
  'metadatadir' => '{folder}/metadata/', 'attributenamemapdir' => '/etc/simplesamlphp/attributemap/', 'secretsalt' => 'benchmark',
  'auth.adminpassword' => 'benchmark', 'technicalcontact_email' => 'nobody@example.test', 'timezone' => 'UTC', 'language.default' => 'en',
  'logging.level' => SimpleSAML\\Logger::ERR, 'logging.handler' => 'file', 'debug' => null, 'showerrors' => true,
  'enable.saml20-idp' => true, 'enable.adfs-idp' => true,
  'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true, 'adfs' => true],
  'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'language.cookie.secure' => false, 'language.cookie.samesite' => null,
  'store.type' => 'phpsession', 'session.phpsession.savepath' => '{self.memory}', 'authproc.idp' => [], 'metadata.sources' => [['type' => 'flatfile']],
];
""")
        (folder / "configuration/authsources.php").write_text(f"""<?php
$config = ['people' => ['exampleauth:UserPass', '{PERSON}:{PASSWORD}' => [
  'urn:oid:0.9.2342.19200300.100.1.1' => ['{PERSON}'], 'urn:oid:0.9.2342.19200300.100.1.3' => ['{PERSON}@example.test'],
  'urn:oid:2.16.840.1.113730.3.1.241' => ['Alice Example'],
]]];
""")
        (folder / "metadata/saml20-idp-hosted.php").write_text(f"""<?php
$metadata['{self.ENTITY}'] = [
  'host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'auth' => 'people',
  'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:uri',
];
""")
        remotes = "".join(
            f"$metadata['{entity}'] = ['AssertionConsumerService' => '{service}', 'saml20.sign.response' => {'true' if both else 'false'},\n"
            "  'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient'];\n" for entity, service, both in parties)
        (folder / "metadata/saml20-sp-remote.php").write_text("<?php\n" + remotes)
        # Claims by the names that AD FS gives them, so that both sides put as much into a token.
        claims = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
        (folder / "metadata/adfs-idp-hosted.php").write_text(f"""<?php
$metadata['{self.ENTITY}'] = ['host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'auth' => 'people', 'authproc' => [
  100 => ['class' => 'core:AttributeMap', 'urn:oid:0.9.2342.19200300.100.1.1' => '{claims}/upn',
          'urn:oid:0.9.2342.19200300.100.1.3' => '{claims}/emailaddress', 'urn:oid:2.16.840.1.113730.3.1.241' => '{claims}/name']]];
""")
        remotes = "".join(f"$metadata['{realm}'] = ['prp' => '{reply}', 'simplesaml.nameidattribute' => '{claims}/upn'];\n" for realm, reply in realms)
        (folder / "metadata/adfs-sp-remote.php").write_text("<?php\n" + remotes)
        as_root = "user = root\ngroup = root\n" if os.getuid() == 0 else ""
        (folder / "fpm.conf").write_text(f"""\
[global]
error_log = {folder}/log/fpm.log
daemonize = no
[www]
{as_root}listen = {folder}/fpm.sock
listen.mode = 0600
pm = static
pm.max_children = {workers}
pm.max_requests = 0
env[SIMPLESAMLPHP_CONFIG_DIR] = {folder}/configuration
""")
        (folder / "nginx.conf").write_text(f"""\
{"user root;" if os.getuid() == 0 else ""}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/log/nginx.log error;
daemon off;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/temporary;
  fastcgi_temp_path {folder}/temporary;
  proxy_temp_path {folder}/temporary;
  uwsgi_temp_path {folder}/temporary;
  scgi_temp_path {folder}/temporary;
  fastcgi_buffers 16 32k;
  fastcgi_buffer_size 64k;
  upstream php {{ server unix:{folder}/fpm.sock; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    listen 127.0.0.1:{self.tls_port} ssl backlog=1024;
    server_name localhost;
    ssl_certificate {tls}/public.pem;
    ssl_certificate_key {tls}/public.key;
    ssl_protocols TLSv1.3;
    root /usr/share/simplesamlphp/www;
    location ~ ^(?<script>.+?\\.php)(?<path>/.*)?$ {{
      include /etc/nginx/fastcgi_params;
      fastcgi_pass php;
      fastcgi_param SCRIPT_FILENAME $document_root$script;
      fastcgi_param SCRIPT_NAME $script;
      fastcgi_param PATH_INFO $path;
    }}
  }}
}}
""")
        # Debian names it after PHP's version.
        words = [max(pathlib.Path("/usr/sbin").glob("php-fpm[0-9]*"), default="php-fpm"), "-F", "-y", folder / "fpm.conf", *(["-R"] if os.getuid() == 0 else [])]
        for setting in ("opcache.enable=1", "opcache.validate_timestamps=0", "opcache.memory_consumption=128", "opcache.max_accelerated_files=20000",
                        "realpath_cache_ttl=3600", "session.gc_probability=0"):
            words += ["-d", setting]
        self.fpm = house.Server("php-fpm", words, folder / "log/fpm.output")
        self.nginx = house.Server("nginx", ["/usr/sbin/nginx", "-e", folder / "log/nginx.log", "-c", folder / "nginx.conf"], folder / "log/nginx.output")

    def url(self, secure):
        return f"https://localhost:{self.tls_port}" if secure else f"http://localhost:{self.port}"

    def sign_on_url(self, secure, query):
        """Where a query of either protocol goes to."""
        return f"{self.url(secure)}/{'module.php/adfs/idp/prp.php' if query.startswith('wa=') else 'saml2/idp/SSOService.php'}?{query}"

    def start(self):
        self.fpm.start()
        self.nginx.start()
        house.until("nginx' start", lambda: house.listens(self.tls_port) or not self.nginx.runs)
        house.until("php-fpm's start", lambda: (self.folder / "fpm.sock").exists() or not self.fpm.runs)
        if not (self.fpm.runs and self.nginx.runs):
            raise house.Problem(f"SimpleSAMLphp did not start: {self.fpm.tail()} {self.nginx.tail()} {(self.folder / 'log/nginx.log').read_text()}")
        return self

    def stop(self):
        self.nginx.stop()
        self.fpm.stop()
        shutil.rmtree(self.memory, ignore_errors=True)

    def sign_in(self, query):
        """One session, as a Cookie field."""
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = opener.open(self.sign_on_url(False, query), timeout=20)
        text = page.read().decode()
        state = re.search(r'name="AuthState" value="([^"]*)"', text)
        if not state:
            raise house.Problem(f"SimpleSAMLphp showed no sign-in page: {text[:2000]}")
        fields = urllib.parse.urlencode({"username": PERSON, "password": PASSWORD, "AuthState": html.unescape(state[1])})
        answer = opener.open(page.url, fields.encode(), timeout=20).read().decode()
        if "SAMLResponse" not in answer and "wresult" not in answer:
            raise house.Problem(f"SimpleSAMLphp did not sign in: {answer[:2000]}")
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)

    def usage(self):
        """Processor time of everything that is its own, children included."""
        return sum(seconds(process) for server in (self.fpm, self.nginx) for process in [server.pid, *children(server.pid)])


def children(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def seconds(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / house.TICKS
    except (OSError, IndexError):
        return 0.0


def trusting_nobody():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
