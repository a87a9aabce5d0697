# SCTP for stories, which Node has not. `serve NAME PORT` answers every message with NAME and the client's address;
# `get HOST PORT` prints one answer.
import json, socket, sys

verb, first, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if verb == 'serve':
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    listener.bind(('::', port))
    listener.listen(16)
    print('ready', flush=True)
    while True:
        peer, address = listener.accept()
        peer.recv(100)
        peer.send(json.dumps({'who': first, 'client': address[0].replace('::ffff:', '')}).encode())
        peer.close()
family = socket.AF_INET6 if ':' in first else socket.AF_INET
client = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
client.settimeout(60)
client.connect((first, port))
client.send(b'hello')
print(client.recv(1000).decode())
