"""Frames as no honest pod sends them: forged.py tagged DEVICE SOURCE DESTINATION PORT TAGS | claims DEVICE ADDRESS

DESTINATION is ADDRESS,MAC; TAGS how many VLAN tags of VID 0. `claims` says by ARP that ADDRESS is here.
"""
import socket
import struct
import sys


def mac_of(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def datagram(source, destination, port, words):
    udp = struct.pack("!4H", 5000, port, 8 + len(words), 0) + words
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!2B3H2B", 0x45, 0, 20 + len(udp), 1, 0, 64, 17)
    return header + struct.pack("!H", checksum(header + b"\0\0" + ends)) + ends + udp


def main(what, device, *rest):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((device, 0))
    own = wire.getsockname()[4]
    if what == "tagged":
        source, destination, port, tags = rest
        address, mac = destination.split(",")
        body = b"\x81\x00\x00\x00" * int(tags) + b"\x08\x00" + datagram(source, address, int(port), b"tagged")
        wire.send(mac_of(mac) + own + body)
    else:
        address = socket.inet_aton(rest[0])
        reply = struct.pack("!2H2BH", 1, 0x0800, 6, 4, 2) + own + address
        wire.send(b"\xff" * 6 + own + b"\x08\x06" + reply + b"\xff" * 6 + address)


main(*sys.argv[1:])
