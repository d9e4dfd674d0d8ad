"""Reads mail through usher by Python's own clients, which do not show the password.

Arguments: CA file, ports of IMAPS and POP3S, user, password, and the subject that the
only message must have.
"""
import imaplib
import poplib
import ssl
import sys

ca, imaps, pop3s, user, password, subject = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)

c = imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=tls)
c.login_cram_md5(user, password)
c.select("INBOX")
assert subject.encode() in c.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1]
c.logout()

c = imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=tls)
try:
    c.login_cram_md5(user, "wrong secret")
    raise AssertionError("a wrong password is right")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
c.login_cram_md5(user, password)
c.logout()

c = poplib.POP3_SSL("localhost", int(pop3s), context=tls)
c.apop(user, password)
assert f"Subject: {subject}".encode() in c.retr(1)[1]
c.quit()
