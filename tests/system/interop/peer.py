"""An agent's peer by Python's ssl: chain and CRLs by the context, the SPIFFE ID from getpeercert().  See peers.py for what a peer is."""
import os
import socket
import ssl
import sys

role, folder = sys.argv[1:3]


def context(side):
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False     # there is no host name
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(folder + "/anchor.pem")
    if os.path.exists(folder + "/crls.pem"):
        made.load_verify_locations(folder + "/crls.pem")
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    made.load_cert_chain(folder + "/chain.pem", folder + "/leaf.key")
    if side == ssl.PROTOCOL_TLS_SERVER:
        made.num_tickets = 0
    return made


def talk(made, plain, name, is_server):
    plain.settimeout(30)
    try:
        with made.wrap_socket(plain, server_side=is_server) as peer:
            if peer.getpeercert()["subjectAltName"] != (("URI", name),):
                print("refused another SPIFFE ID", flush=True)
                return
            if not is_server:
                peer.sendall(b"hello\n")
            if peer.recv(16) != b"hello\n":
                raise OSError("the peer hung up")
            if is_server:
                peer.sendall(b"hello\n")
            print("ok", name, flush=True)
    except OSError as e:
        print("refused", str(e).replace("\n", " "), flush=True)


if role == "server":
    settings = context(ssl.PROTOCOL_TLS_SERVER)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print("port", listener.getsockname()[1], flush=True)
        while True:
            talk(settings, listener.accept()[0], sys.argv[3], True)
settings = context(ssl.PROTOCOL_TLS_CLIENT)
for line in sys.stdin:
    port, wanted = line.split()
    talk(settings, socket.create_connection(("127.0.0.1", int(port))), wanted, False)
