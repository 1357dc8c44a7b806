/** Our proxy between QEMU and a served device. @module */
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { connect, linuxPlatform, listen } from '../../../src/linux/index.ts';
import {
  type ProxyDmaEvent,
  type ProxyEnd,
  type ProxyMapping,
  VfioUserProxy,
} from '../../../src/vfio-user/index.ts';
import { socketFolder } from './sockets.ts';
import { dmaText, type DmaText } from './tables.ts';

/** A proxy for the first VMM that comes. */
export class ProxyInFront {
  readonly socket: string;
  /** Answers to what the VMM asked for, in order. */
  readonly asked: ProxyDmaEvent[] = [];
  /** How it ended, once it has. */
  end: ProxyEnd | undefined;
  #proxy: VfioUserProxy | undefined;

  private constructor(socket: string) {
    this.socket = socket;
  }

  /** Listens on a socket of its own until the test is over, and connects to `sink` when a VMM does. */
  static async of(
    sink: { readonly socket: string },
    options: { readonly merge?: boolean } = {},
  ): Promise<ProxyInFront> {
    const { files, timers } = linuxPlatform();
    const self = new ProxyInFront(join(socketFolder(), 'proxy'));
    const listener = await listen(self.socket, (upstream) => {
      void (async () => {
        self.#proxy = new VfioUserProxy({
          upstream,
          downstream: await connect(sink.socket),
          files,
          timers,
          merge: options.merge ?? false,
          events: { asked: (event) => void self.asked.push(event), ended: (end) => void (self.end = end) },
        });
      })();
    });
    onTestFinished(async () => {
      await listener.close();
      self.#proxy?.close('the test is over');
      await self.#proxy?.closed;
    });
    return self;
  }

  /** What the VMM believes that it mapped, ascending. */
  get ledger(): DmaText[] {
    return [...(this.#proxy?.mappings() ?? [])].map(mappingText);
  }

  /** What the VMM was refused, as the errno's name after what it asked for. */
  get refused(): string[] {
    return this.asked
      .filter(({ result }) => result !== 'ok')
      .map(
        ({ op, iova, size, result }) =>
          `${op} ${(iova >> 12n).toString(16)}+${(size >> 12n).toString(16)} ${result}`,
      );
  }
}

function mappingText({ iova, size, offset, access }: ProxyMapping): DmaText {
  return dmaText(Number(iova >> 12n), Number(size >> 12n), Number(offset >> 12n), access);
}
