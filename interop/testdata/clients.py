"""Lists and fetches mail through usher by Python's own IMAP and POP3 clients.

Arguments: CA file, ports of IMAP, IMAPS, POP3 and POP3S, user, password, and the
subject that the only message must have.
"""
import imaplib
import poplib
import ssl
import sys

ca, imap, imaps, pop3, pop3s, user, password, subject = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)
host = "localhost"


def read_imap(c):
    assert b"INBOX" in b"".join(c.list()[1]), "no INBOX in the list"
    status, count = c.select("INBOX")
    assert status == "OK" and count == [b"1"], count
    status, data = c.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert status == "OK" and subject.encode() in data[0][1], data
    assert b"IDLE" in c.capability()[1][0].split(), c.capability()
    c.logout()


def imap_ways():
    plain = imaplib.IMAP4(host, int(imap))
    plain.login(user, password)
    yield plain
    starttls = imaplib.IMAP4(host, int(imap))
    starttls.starttls(tls)
    starttls.login(user, password)
    yield starttls
    implicit = imaplib.IMAP4_SSL(host, int(imaps), ssl_context=tls)
    implicit.login(user, password)
    yield implicit
    sasl = imaplib.IMAP4_SSL(host, int(imaps), ssl_context=tls)
    sasl.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
    yield sasl


def read_pop3(c):
    assert c.stat()[0] == 1, c.stat()
    assert len(c.list()[1]) == 1
    assert f"Subject: {subject}".encode() in c.retr(1)[1], c.retr(1)
    assert "TOP" in c.capa(), c.capa()
    c.quit()


def pop3_ways():
    plain = poplib.POP3(host, int(pop3))
    starttls = poplib.POP3(host, int(pop3))
    starttls.stls(tls)
    implicit = poplib.POP3_SSL(host, int(pop3s), context=tls)
    for c in plain, starttls, implicit:
        c.user(user)
        c.pass_(password)
        yield c


for c in imap_ways():
    read_imap(c)
for c in pop3_ways():
    read_pop3(c)
