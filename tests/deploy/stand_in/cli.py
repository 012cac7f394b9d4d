"""``valkey-cli ping`` for machines that have the server alone: says what the server says."""

import socket
import sys

with socket.create_connection(("127.0.0.1", 6379), timeout=3) as link:
    link.sendall(" ".join(sys.argv[1:]).encode() + b"\r\n")
    print(link.recv(1000).decode().strip().lstrip("+-"))
