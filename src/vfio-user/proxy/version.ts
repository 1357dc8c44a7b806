/** What a proxy changes in VERSION. @module */
import {
  type Capabilities,
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_PGSIZES,
  UNSTATED_MAX_MSG_FDS,
  type VersionMessage,
  versionReply,
} from '../wire/index.ts';
import type { ProxyLimits } from './limits.ts';

/** Page sizes of whole 4 KiB pages, which is what the ledgers count in. */
const WHOLE_PAGES: bigint = (1n << 64n) - DEFAULT_PGSIZES;
const VERSION_BYTES = 4;

/** What the server is asked for: no more than the proxy can pass on. A second socket, which would go past it, is not offered, and no extension of DMA_MAP, for each is looked at. */
export function limitProposal(proposed: VersionMessage, limits: ProxyLimits): VersionMessage {
  return { ...proposed, capabilities: limitCapabilities(proposed.capabilities, limits) };
}

/**
 * What the VMM is told: a minor no higher than it proposed, which some servers answer and QEMU refuses, and no more than
 * it, the server and the proxy can do.
 */
export function limitAgreement(
  agreed: VersionMessage,
  proposed: VersionMessage,
  limits: ProxyLimits,
): VersionMessage {
  const { maxDataXferSize, maxDmaMaps } = proposed.capabilities;
  return {
    major: agreed.major,
    minor: Math.min(agreed.minor, proposed.minor),
    capabilities: limitCapabilities(agreed.capabilities, {
      // A count of descriptors is what its sender can receive: one side's says nothing about the other's.
      maxMsgFds: limits.maxMsgFds,
      maxDataXferSize: Math.min(limits.maxDataXferSize, maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE),
      maxDmaMaps: Math.min(limits.maxDmaMaps, maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS),
    }),
  };
}

/** A server's reply; data that lacks its NUL, as some servers send it, gets one. */
export function decodeAgreement(payload: Uint8Array): ReturnType<typeof versionReply.decode> {
  if (payload.length <= VERSION_BYTES || payload[payload.length - 1] === 0)
    return versionReply.decode(payload);
  const terminated = new Uint8Array(payload.length + 1);
  terminated.set(payload);
  return versionReply.decode(terminated);
}

/** Nothing is added that a peer did not say, unless the proxy can do less than its silence means: QEMU has no room for a reply longer than its request. */
function limitCapabilities(
  capabilities: Capabilities,
  limits: Pick<ProxyLimits, 'maxMsgFds' | 'maxDataXferSize' | 'maxDmaMaps'>,
): Capabilities {
  const { maxMsgFds, maxDataXferSize, maxDmaMaps, pgsizes } = capabilities;
  const kept: Capabilities = Object.fromEntries(
    Object.entries(capabilities).filter(([name]) => name !== 'twinSocket' && name !== 'viommu'),
  );
  return {
    ...kept,
    ...lower('maxMsgFds', maxMsgFds, UNSTATED_MAX_MSG_FDS, limits.maxMsgFds),
    ...lower('maxDataXferSize', maxDataXferSize, DEFAULT_MAX_DATA_XFER_SIZE, limits.maxDataXferSize),
    ...lower('maxDmaMaps', maxDmaMaps, DEFAULT_MAX_DMA_MAPS, limits.maxDmaMaps),
    ...(pgsizes === undefined ? {} : { pgsizes: pgsizes & WHOLE_PAGES }),
  };
}

function lower(
  name: 'maxMsgFds' | 'maxDataXferSize' | 'maxDmaMaps',
  stated: number | undefined,
  unstated: number,
  limit: number,
): Capabilities {
  return (stated ?? unstated) > limit ? { [name]: limit } : {};
}
