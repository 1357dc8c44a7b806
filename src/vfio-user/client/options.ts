import type { Observer } from '../../memory/index.ts';
import type { Channel } from '../channel.ts';
import type { Timers } from '../platform.ts';

/** How a client reaches its server. */
export interface VfioUserClientOptions {
  /** Opens a channel to the server: once to connect, and once for each `VfioUserClient.reopen`. The client's from then on. */
  readonly open: () => Promise<Channel>;
  /** The server's name for people. */
  readonly name?: string;
  /** For `requestTimeout`. Without them a server that hangs hangs its barriers, and with them the guest. */
  readonly timers?: Timers;
  /**
   * Milliseconds without any answer, while answers are owed, after which the server counts as lost: 30,000 when left
   * out, 0 for never. It may take as long as it likes as long as it answers something.
   */
  readonly requestTimeout?: number;
  /** Hears of `server-connected` and `server-lost`. */
  readonly observer?: Observer;
  /** Mappings to make at once; what the server takes when left out. A server may take less. */
  readonly maxDmaMaps?: number;
}
