#!/usr/bin/env python3
"""Answers a proxy that wants NTLM, with Samba's ntlm_auth (Debian: winbind), for sluice connect --proxy-auth-command:

    sluice connect wss://tunnel.example -L 5432:db:5432 --proxy http://proxy.corp:3128 \
        --proxy-auth-command 'ntlm.py CORP ann /home/ann/.proxy-password'

A line of the proxy's comes in, the values of Proxy-Authenticate with tabs between them; a line goes out, the value of
Proxy-Authorization. The password is the first line of a file, and is shown to nobody.
"""
import base64
import subprocess
import sys

domain, user, password_file = sys.argv[1:4]
with open(password_file) as file:
    password = file.readline().rstrip("\n")

command = ["ntlm_auth", "--helper-protocol=ntlmssp-client-1", f"--username={user}", f"--domain={domain}"]
helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(line):
    print(line, file=helper.stdin, flush=True)
    return helper.stdout.readline().strip().partition(" ")


ask("PW " + base64.b64encode(password.encode()).decode())
for offered in sys.stdin:
    ntlm = [value for value in offered.rstrip("\n").split("\t") if value.upper().startswith("NTLM")]
    if not ntlm:
        sys.exit(f"the proxy offers no NTLM: {offered.strip()}")
    challenge = ntlm[0][len("NTLM"):].strip()
    kind, _, answer = ask(f"TT {challenge}" if challenge else "YR")
    if kind not in ("YR", "KK", "AF") or not answer:
        sys.exit(f"ntlm_auth: {kind} {answer}")
    print("NTLM " + answer, flush=True)
