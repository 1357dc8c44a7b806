import {
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_PGSIZES,
  Errno,
  type VersionMessage,
} from '../wire/index.ts';
import type { ServerLimits } from './limits.ts';

/** The version of the protocol that is spoken: 0.1. */
const MAJOR = 0;
const MINOR = 1;

/** What client and server agreed on. */
export interface Agreement {
  /** The answer to the client's VERSION. */
  readonly reply: VersionMessage;
  /** Bytes of one DMA message: the smaller of what both take. */
  readonly maxDmaBytes: number;
  /** Whether mappings may name the file of the last descriptor: see `DmaMap.sameFile`. */
  readonly sameFile: boolean;
}

/**
 * Answers a client's proposal. Source: vfio-user, "VFIO_USER_VERSION": the major version must be ours, the minor is the
 * lower of both, and what the client did not propose is not announced, but for limits, which hold anyway.
 *
 * Without descriptors `max_msg_fds` is 0: a client that goes by it sends none. QEMU accepts that, and sends them all the
 * same; what does not get through is memory that is reached by message.
 *
 * `takes` says what of the client's memory can be taken: descriptors at all, and files behind them.
 */
export function agree(
  proposal: VersionMessage,
  limits: ServerLimits,
  takes: { readonly descriptors: boolean; readonly files: boolean },
): Agreement | { readonly errno: number; readonly reason: string } {
  const { major, minor, capabilities } = proposal;
  if (major !== MAJOR) {
    return {
      errno: Errno.EINVAL,
      reason: `it speaks version ${major}.${minor}, and ${MAJOR}.${MINOR} is needed`,
    };
  }
  const maxBytes = capabilities.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE;
  if (maxBytes < 1) return { errno: Errno.EINVAL, reason: 'its max_data_xfer_size is 0' };
  const sameFile = capabilities.viommu?.sameFile === true && takes.descriptors && takes.files;
  const reply: VersionMessage = {
    major,
    minor: Math.min(minor, MINOR),
    capabilities: {
      maxMsgFds: takes.descriptors ? limits.maxMsgFds : 0,
      maxDataXferSize: limits.maxDataXferSize,
      // A client may not be told of more than it proposed.
      maxDmaMaps: Math.min(limits.maxMappings, capabilities.maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS),
      pgsizes: DEFAULT_PGSIZES,
      ...(capabilities.writeMultiple === true ? { writeMultiple: true } : {}),
      ...(sameFile ? { viommu: { sameFile } } : {}),
    },
  };
  return { reply, maxDmaBytes: Math.min(maxBytes, limits.maxDataXferSize), sameFile };
}
