/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP's checksum, a CRC32c over the whole packet (RFC 9260 section 6.8), after a change of its ports. A CRC is linear: what
 * changes is the CRC of the difference followed by zeros, that is the difference times x^(8 * length) modulo the polynomial.
 */
#ifndef WEIR_SCTP_H
#define WEIR_SCTP_H

#include "packet.h"

enum {
	SCTP_CHECKSUM = 8, /* offset in the common header */
};

/* Polynomials with the least significant bit as the highest power, as CRC32c transmits them. */
#define CRC32C 0x82f63b78U
#define CRC_X0 0x80000000U /* x^0 */
#define CRC_X8 0x00800000U

/* a * b modulo the polynomial, without branches: the verifier follows one path. Global: it does so once, not for each of 32 calls. */
__noinline __u32 weir_crc_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int bit = 31; bit >= 0; bit--) {
		product ^= b & -(a >> bit & 1);
		b = b >> 1 ^ (CRC32C & -(b & 1));
	}
	return product;
}

/* The CRC of four bytes that length - 4 zeros follow. Global: verified once, not for each way to it. */
__noinline __u32 weir_crc_of_beginning(__u32 bytes, __u32 length)
{
	__u32 power = CRC_X8;

	for (int i = 0; i < 16; i++) {
		__u32 set = -(length >> i & 1);

		bytes = weir_crc_multiply(bytes, (power & set) | (CRC_X0 & ~set));
		power = weir_crc_multiply(power, power);
	}
	return bytes;
}

/* ports: old and new ones as they stand in the header, in exclusive or. Of a fragment the length of the whole is not known. */
static __always_inline long sctp_checksum_adjust(struct __sk_buff *skb, const struct packet *p, __be32 ports)
{
	__u32 at = p->l4 + SCTP_CHECKSUM, sum = 0;

	if (p->fragment != FRAGMENT_NONE)
		return 0;
	if (bpf_skb_load_bytes(skb, at, &sum, sizeof(sum)))
		return -1;
	sum ^= weir_crc_of_beginning(ports, p->length - (p->l4 - p->l3));
	return bpf_skb_store_bytes(skb, at, &sum, sizeof(sum), BPF_F_RECOMPUTE_CSUM);
}

#endif
