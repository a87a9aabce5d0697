/** What flags say to the programs about services: --masquerade-all and --service-cidr, as weir_config has it. */
import { type Family, familyOf, ipBytes, ipFromBytes, maskOf, type Prefix } from '../core/net.js';
import { type Config, CONFIG_FLAG } from './layout.js';

export interface ServiceOptions {
  readonly masqueradeAll: boolean;
  /** At most one of each family. */
  readonly serviceCidr: readonly Prefix[];
}

export type ServiceConfig = Pick<Config, 'flags' | 'service4' | 'service4Mask' | 'service6' | 'service6Mask'>;

export function serviceConfig({ masqueradeAll, serviceCidr }: ServiceOptions): ServiceConfig {
  const of = (family: Family): Prefix | undefined => serviceCidr.find(({ address }) => familyOf(address) === family);
  const [v4, v6] = [of('v4'), of('v6')];
  const flags =
    (masqueradeAll ? CONFIG_FLAG.MASQUERADE_ALL : 0) |
    (v4 ? CONFIG_FLAG.SERVICE4 : 0) |
    (v6 ? CONFIG_FLAG.SERVICE6 : 0);
  return {
    flags,
    service4: v4 ? lastWord(ipBytes(v4.address)) : 0,
    service4Mask: v4 ? lastWord(maskOf(v4)) : 0,
    service6: v6?.address ?? NOTHING,
    service6Mask: v6 ? ipFromBytes(maskOf(v6)) : NOTHING,
  };
}

const NOTHING = ipFromBytes(new Uint8Array(16));

/** IPv4's part of 16 bytes, as a number in host order. */
export function lastWord(bytes: Uint8Array): number {
  return Buffer.from(bytes).readUInt32BE(12);
}
