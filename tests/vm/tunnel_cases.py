# SPDX-License-Identifier: Apache-2.0
"""tunnel_cases.py - cases of run_cases.py: a guest goes through a tunnel, by the very lines that
docs/migration.md has; only places, names and ports are this machine's."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

from migrate_cases import Place, a_port, until
from part import Skip
from run_guest import PATIENCE_S, check

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/migration.md")
SSHD = "/usr/sbin/sshd"
HOST = "127.0.0.1"


def manual(word):
    """The commands that have the word; one that ends with | goes on in the next line."""
    with open(MANUAL) as file:
        text = file.read().replace("|\n", "| ")
    found = re.findall(rf"^    (?:source|target)\$ (.*{re.escape(word)}.*)$", text, re.M)
    check(found, f"the manual has no {word!r} any more")
    return found


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"no {os.path.basename(program)} here")


class Shell:
    """A folder instead of /run, in which the manual's commands are run."""

    def __init__(self, place, **instead):
        self.folder = place.folder.name + "/shell"
        os.mkdir(self.folder)
        self.instead = {"/run/vm.qmp": place.folder.name + "/source",
                        "/run/vm.move": place.uri[5:],
                        "/run/vm.there": self.folder + "/there", **instead}
        self.began = []

    def begin(self, line):
        for here, there in self.instead.items():
            line = line.replace(here, there)
        # Its output would keep a pipe open for as long as a tunnel lives.
        with open(self.folder + "/said", "a") as said:
            process = subprocess.Popen(line, shell=True, cwd=self.folder, stdout=said, stderr=said,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
        self.began.append(process)
        return process

    def does(self, line):
        status = self.begin(line).wait(PATIENCE_S)
        check(status == 0, f"{line}: status {status}: {self.said()}")

    def said(self):
        with open(self.folder + "/said") as file:
            return file.read()[-1000:]

    def waits_for(self, name):
        end = time.monotonic() + PATIENCE_S
        while not os.path.exists(f"{self.folder}/{name}"):
            check(time.monotonic() < end, f"no {name}: {self.said()}")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in filter(self.is_ours, filter(str.isdigit, os.listdir("/proc"))):
            os.kill(int(pid), signal.SIGTERM)
        for process in self.began:
            process.wait(PATIENCE_S)
        shutil.rmtree(self.folder)

    def is_ours(self, pid):
        """ssh -f too, which has left our process group."""
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                return self.folder in file.read()
        except OSError:
            return False


@contextlib.contextmanager
def goes_through(place, shell):
    """The manual's own line; what begins here arrives there."""
    with place.source() as source, place.target() as target:
        yield
        shell.does(manual("UNIX-CONNECT:/run/vm.qmp")[0])
        until(source.qmp, "completed")
        target.follows(source)
        source.leave()
        target.leave()


def serve_ssh(shell, port):
    """A server that knows one key, and ssh's settings for it."""
    folder = shell.folder
    os.makedirs("/run/sshd", exist_ok=True)
    for key in "host", "user":
        shell.does(f"ssh-keygen -q -t ed25519 -N '' -f {folder}/{key}")
    with open(folder + "/sshd.conf", "w") as file:
        file.write(f"Port {port}\nListenAddress {HOST}\nHostKey {folder}/host\nStrictModes no\n"
                   f"AuthorizedKeysFile {folder}/user.pub\nPermitRootLogin yes\nPidFile {folder}/pid\n")
    with open(folder + "/ssh.conf", "w") as file:
        file.write(f"Host target\nHostName {HOST}\nPort {port}\nIdentityFile {folder}/user\n"
                   f"StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")
    shell.begin(f"exec {SSHD} -D -e -f {folder}/sshd.conf")
    shell.waits_for("pid")  # it listens


def listens(port):
    """Without a connection: it takes only one."""
    end = time.monotonic() + PATIENCE_S
    while True:
        with open("/proc/net/tcp") as file:
            if re.search(rf":{port:04X} \S+ 0A ", file.read()):
                return
        check(time.monotonic() < end, f"nobody listens at {port}")
        time.sleep(0.05)


def a_tunnel_of_ssh_takes_it_as_the_manual_says():
    """Twice: the second tunnel finds the first one's socket."""
    needs(SSHD, "ssh", "ssh-keygen", "socat")
    with Place() as place, Shell(place) as shell:
        shell.instead["ssh "] = f"ssh -F {shell.folder}/ssh.conf "
        serve_ssh(shell, a_port())
        for _ in range(2):
            with goes_through(place, shell):
                for line in manual("ssh -f"):
                    shell.does(line)


def so_does_one_of_tls():
    needs("openssl", "socat")
    port = a_port()
    with Place() as place, Shell(place) as shell:
        shell.instead.update({"CN=target": "CN=localhost", ":7000": f":{port}",
                              "OPENSSL:target:": "OPENSSL:localhost:"})
        for line in manual("openssl req") + manual(".crt >"):
            shell.does(line)
        with goes_through(place, shell):
            target, source = manual("OPENSSL-LISTEN") + manual("OPENSSL:")
            shell.begin(target)
            listens(port)
            shell.begin(source)
            shell.waits_for("there")


CASES = [a_tunnel_of_ssh_takes_it_as_the_manual_says, so_does_one_of_tls]
