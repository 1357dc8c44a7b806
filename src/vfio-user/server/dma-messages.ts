import type { PageRange } from '../../memory/index.ts';
import type { Connection } from '../connection.ts';
import type { Reply } from '../command.ts';
import { releaseAll } from '../descriptor.ts';
import {
  Command,
  dmaReadReply,
  dmaReadRequest,
  dmaWriteReply,
  dmaWriteRequest,
  Errno,
} from '../wire/index.ts';
import type { DmaRefusal } from './dma-refusal.ts';
import type { DmaInFlight, DmaTraffic } from './dma-traffic.ts';

/** How guest memory is reached that came without a file. */
export interface DmaLink {
  /** Bytes of one message. */
  readonly maxBytes: number;
  /** Fills `data`, of at most `maxBytes`, from `address`; `range` are the pages it lies in. Never rejects. */
  read(address: bigint, data: Uint8Array, range: PageRange): Promise<DmaRefusal | undefined>;
  /** Writes `data`: see `read`. */
  write(address: bigint, data: Uint8Array, range: PageRange): Promise<DmaRefusal | undefined>;
}

/** DMA_READ and DMA_WRITE over a connection. */
export class DmaMessages implements DmaLink {
  readonly maxBytes: number;
  readonly #connection: Connection;
  readonly #traffic: DmaTraffic;
  readonly #isBusy: () => boolean;

  /** `isBusy`: whether the client waits for the answer to a command of its own. */
  constructor(connection: Connection, traffic: DmaTraffic, maxBytes: number, isBusy: () => boolean) {
    this.#connection = connection;
    this.#traffic = traffic;
    this.maxBytes = maxBytes;
    this.#isBusy = isBusy;
  }

  read(address: bigint, data: Uint8Array, range: PageRange): Promise<DmaRefusal | undefined> {
    const request = dmaReadRequest.encode({ address, count: BigInt(data.length) });
    return this.#ask(Command.DMA_READ, request, range, ({ payload }) => {
      const reply = dmaReadReply.decode(payload);
      if (!reply.ok) return { errno: Errno.EIO, reason: reply.reason };
      if (reply.value.address !== address || reply.value.data.length !== data.length) return otherAnswer();
      data.set(reply.value.data);
      return undefined;
    });
  }

  write(address: bigint, data: Uint8Array, range: PageRange): Promise<DmaRefusal | undefined> {
    const request = dmaWriteRequest.encode({ address, count: BigInt(data.length), data });
    return this.#ask(Command.DMA_WRITE, request, range, ({ payload }) => {
      const reply = dmaWriteReply.decode(payload);
      if (!reply.ok) return { errno: Errno.EIO, reason: reply.reason };
      if (reply.value === undefined) return undefined;
      const isSame = reply.value.address === address && reply.value.count === BigInt(data.length);
      return isSame ? undefined : otherAnswer();
    });
  }

  #ask(
    command: number,
    request: Uint8Array,
    range: PageRange,
    take: (reply: Reply) => DmaRefusal | undefined,
  ): Promise<DmaRefusal | undefined> {
    if (this.#isBusy()) {
      const reason =
        'the client waits for the answer to a command and serves no DMA before it: answer first, then do DMA';
      return Promise.resolve({ errno: Errno.EBUSY, reason });
    }
    return new Promise((resolve) => {
      let isOver = false;
      const message: DmaInFlight = {
        range,
        abandon: (why) => {
          isOver = true;
          resolve(why);
        },
      };
      this.#traffic.sent(message);
      const taken = (reply: Reply | undefined): void => {
        if (reply !== undefined) releaseAll(reply.descriptors);
        if (isOver) return;
        this.#traffic.ended(message);
        resolve(outcome(reply, take));
      };
      // What is abandoned before it is sent must not be: by then the client may have mapped something else there.
      this.#connection.send(command, request, undefined, taken, () => !isOver);
    });
  }
}

function outcome(
  reply: Reply | undefined,
  take: (reply: Reply) => DmaRefusal | undefined,
): DmaRefusal | undefined {
  if (reply === undefined) return { errno: Errno.ENOTCONN, reason: 'the client is gone' };
  if (reply.errno !== 0) return { errno: reply.errno, reason: 'the client refused it' };
  return take(reply);
}

function otherAnswer(): DmaRefusal {
  return { errno: Errno.EIO, reason: 'the client answered for another address or count' };
}
