"""Logs in with Python's own clients: check.py HOST IMAP IMAPS POP3 POP3S CA (ports), user ann, password secret."""
import imaplib
import poplib
import ssl
import sys

host, imap, imaps, pop3, pop3s, ca = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)


def check_imap(c):
    c.login("ann", "secret")
    assert c.select("INBOX") == ("OK", [b"1"])
    assert b"Subject: hello\r\n" in c.fetch("1", "(RFC822)")[1][0][1]
    c.logout()


def check_pop3(c):
    c.user("ann")
    c.pass_("secret")
    assert c.stat()[0] == 1
    assert b"Subject: hello" in c.retr(1)[1]
    c.quit()


check_imap(imaplib.IMAP4(host, int(imap), timeout=20))
starttls = imaplib.IMAP4(host, int(imap), timeout=20)
starttls.starttls(tls)
check_imap(starttls)
check_imap(imaplib.IMAP4_SSL(host, int(imaps), ssl_context=tls, timeout=20))
check_pop3(poplib.POP3(host, int(pop3), timeout=20))
stls = poplib.POP3(host, int(pop3), timeout=20)
stls.stls(tls)
check_pop3(stls)
check_pop3(poplib.POP3_SSL(host, int(pop3s), context=tls, timeout=20))
