"""Reads ann's INBOX with Python's own clients: check.py IMAP POP3 (ports on 127.0.0.1)."""
import imaplib
import poplib
import sys

imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]), timeout=20)
imap.authenticate("PLAIN", lambda _: b"\0ann\0secret")
assert imap.select("INBOX") == ("OK", [b"3"])
by_imap = [imap.fetch(str(n), "(BODY.PEEK[])")[1][0][1] for n in (1, 2, 3)]

pop3 = poplib.POP3("127.0.0.1", int(sys.argv[2]), timeout=20)
pop3.user("ann")
pop3.pass_("secret")
assert pop3.stat() == (3, sum(map(len, by_imap)))
by_pop3 = [b"\r\n".join(pop3.retr(n)[1]) + b"\r\n" for n in (1, 2, 3)]
assert by_imap == by_pop3, (by_imap, by_pop3)
assert pop3.capa()["UIDL"] == []
assert len(set(pop3.uidl()[1])) == 3
pop3.dele(2)
pop3.quit()

imap.noop()
assert imap.response("EXPUNGE") == ("EXPUNGE", [b"2"])
imap.logout()
