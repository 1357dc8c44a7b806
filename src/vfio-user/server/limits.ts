import { PAGES_END } from '../../memory/index.ts';
import { DEFAULT_MAX_DATA_XFER_SIZE, DEFAULT_MAX_MSG_FDS } from '../wire/index.ts';

/** What a server puts up with. */
export interface ServerLimits {
  /**
   * Mappings held at one time; further ones are refused with ENOSPC. A client is told of no more than it proposed, which
   * is 65,535 for QEMU; that one sends more all the same, so more are held.
   */
  readonly maxMappings: number;
  /**
   * Pages, from address 0 on, that the device can reach; mappings beyond them are refused with ERANGE. vfio-user has no word
   * by which a client could learn of it.
   */
  readonly reachablePages: number;
  /** Distinct files that mappings may lie in; further ones are refused with EMFILE. */
  readonly maxFiles: number;
  /** Bytes in one read or write of a region or of guest memory: `max_data_xfer_size`, 4 KiB to 64 MiB. */
  readonly maxDataXferSize: number;
  /** Descriptors in one message: `max_msg_fds`. QEMU accepts servers of 16 at the most. */
  readonly maxMsgFds: number;
  /** Milliseconds for which a client may neither answer nor read before it counts as gone. Needs timers. */
  readonly requestTimeout: number;
  /** Connections that have not said VERSION yet; when one more comes, the oldest is closed. */
  readonly maxWaiting: number;
}

/** The limits of a server that is given none. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxMappings: 2 ** 22,
  reachablePages: PAGES_END,
  maxFiles: 1024,
  maxDataXferSize: DEFAULT_MAX_DATA_XFER_SIZE,
  maxMsgFds: DEFAULT_MAX_MSG_FDS,
  requestTimeout: 30_000,
  maxWaiting: 16,
};
