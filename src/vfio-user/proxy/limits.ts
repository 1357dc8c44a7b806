import {
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_MSG_FDS,
  LARGEST_DATA_XFER_SIZE,
  MAX_DMA_MAPS,
} from '../wire/index.ts';

/** What a proxy lets pass; VERSION tells both sides, so that neither sends more. */
export interface ProxyLimits {
  /** Descriptors with one message (`max_msg_fds`), at most 253, which is what Linux passes at once. */
  readonly maxMsgFds: number;
  /** Bytes of data in one message (`max_data_xfer_size`), at most 64 MiB. */
  readonly maxDataXferSize: number;
  /** Mappings that a server is given at one time (`max_dma_maps`), at most 65,535: QEMU refuses more. */
  readonly maxDmaMaps: number;
  /**
   * Milliseconds for which a side may neither answer nor read before the connection is over, when timers are given; 0
   * is for ever. A device's reset has no bound, so the default is 0.
   */
  readonly patience: number;
}

/** Limits where none are given. */
export const DEFAULT_PROXY_LIMITS: ProxyLimits = {
  maxMsgFds: DEFAULT_MAX_MSG_FDS,
  maxDataXferSize: DEFAULT_MAX_DATA_XFER_SIZE,
  maxDmaMaps: MAX_DMA_MAPS,
  patience: 0,
};

const RANGES: Readonly<Record<keyof ProxyLimits, readonly [least: number, most: number]>> = {
  maxMsgFds: [1, 253],
  maxDataXferSize: [1, LARGEST_DATA_XFER_SIZE],
  maxDmaMaps: [1, MAX_DMA_MAPS],
  patience: [0, 2 ** 31 - 1],
};

/** The limits given, the others as they are by default. RangeError for one that is impossible. */
export function checkedLimits(given: Partial<ProxyLimits> = {}): ProxyLimits {
  const limits = { ...DEFAULT_PROXY_LIMITS, ...given };
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const limit = limits[name as keyof ProxyLimits];
    if (!Number.isInteger(limit) || limit < least || limit > most) {
      throw new RangeError(`limits.${name} is ${limit}: give an integer from ${least} to ${most}`);
    }
  }
  return limits;
}
