"""Sessions under TLS that talk to a mirror: what comes back must be what was said.

talker.py HOST PORT CA USER PASSWORD SESSIONS SUITE

The suite is named in OPENSSL_CONF, as Python has no words for those of TLS 1.3. Every other
session is resumed from the one before. It says "ready" when all are logged in, talks until
its input ends, and says "whole" and how many bytes were said, or what went wrong.
"""

import hashlib
import random
import selectors
import socket
import ssl
import sys
import time


class Session:
    def __init__(self, context, args, before):
        raw = socket.create_connection((args.host, args.port))
        again = before.sock.session if before else None
        self.sock = context.wrap_socket(raw, server_hostname="localhost", session=again)
        if before and not self.sock.session_reused:
            raise SystemExit("a session was not resumed")
        if self.sock.cipher()[0] != args.suite or self.sock.version() != "TLSv1.3":
            raise SystemExit(f"the suite is {self.sock.cipher()}")
        self.line(b"* OK ")
        self.sock.sendall(f'a LOGIN "{args.user}" "{args.password}"\r\n'.encode())
        self.line(b"a OK ")
        self.sock.setblocking(False)
        self.said, self.heard = hashlib.sha256(), hashlib.sha256()
        self.sent = self.got = 0
        self.due = b""
        self.next = 0.0

    def line(self, begin):
        line = b""
        while not line.endswith(b"\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise SystemExit(f"the end, after {line}")
            line += byte
        if not line.startswith(begin):
            raise SystemExit(f"heard {line}, not {begin}")

    def say(self, text):
        self.due += text
        self.said.update(text)
        self.sent += len(text)

    def flush(self):
        """Returns what is waited for."""
        while self.due:
            try:
                self.due = self.due[self.sock.send(self.due):]
            except ssl.SSLWantWriteError:
                return selectors.EVENT_READ | selectors.EVENT_WRITE
            except ssl.SSLWantReadError:
                break
        return selectors.EVENT_READ

    def hear(self):
        while True:
            try:
                got = self.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not got:
                raise SystemExit(f"a session has ended after {self.got} bytes")
            self.heard.update(got)
            self.got += len(got)


class Args:
    def __init__(self, argv):
        self.host, port, self.ca, self.user, self.password, sessions, self.suite = argv
        self.port, self.sessions = int(port), int(sessions)


def talk(sessions):
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    for s in sessions:
        waiting.register(s.sock, selectors.EVENT_READ, s)
    over = False
    while not over or any(s.due or s.got < s.sent for s in sessions):
        for key, _ in waiting.select(0.05):
            if key.data:
                key.data.hear()
            elif not sys.stdin.buffer.read1(100):
                waiting.unregister(sys.stdin)
                over = True
        now = time.monotonic()
        for s in sessions:
            if not over and now >= s.next:
                s.say(random.randbytes(random.randrange(1, 1 << random.randrange(1, 14))))
                s.next = now + random.random() * 2 * len(sessions) / 10
            waiting.modify(s.sock, s.flush(), s)


def main():
    args = Args(sys.argv[1:])
    context = ssl.create_default_context(cafile=args.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    sessions = []
    for i in range(args.sessions):
        sessions.append(Session(context, args, sessions[-1] if i % 2 else None))
    print("ready", flush=True)
    talk(sessions)
    for s in sessions:
        if s.said.digest() != s.heard.digest() or s.sent == 0:
            raise SystemExit(f"of {s.sent} bytes {s.got} came back, others than these")
    print("whole", sum(s.sent for s in sessions), flush=True)


main()
