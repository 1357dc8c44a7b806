/** A device of ours that QEMU connects to, as the tests look at it: what came, and what is mapped now. @module */
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type SinkOptions, VfioUserSink } from '../../../src/qemu/index.ts';
import type { DmaMapping } from '../../../src/vfio-user/index.ts';
import { socketFolder } from './sockets.ts';
import { dmaText, type DmaText } from './tables.ts';

/** A served device. */
export class Sink extends VfioUserSink {
  /** Serves a device on a socket of its own until the test is over. */
  static async serve(options: SinkOptions = {}): Promise<Sink> {
    const sink = new Sink(join(socketFolder(), 'device'), options);
    await sink.listen();
    onTestFinished(() => sink.close());
    return sink;
  }

  /** What is mapped now, ascending: targets are pages of the file that QEMU shared. */
  get ledger(): DmaText[] {
    return this.mappings().map(mappingText);
  }

  /** The same without what is not in a shared file: ROMs, while the device sees memory untranslated. */
  get sharedLedger(): DmaText[] {
    return this.mappings()
      .filter(({ shared }) => shared)
      .map(mappingText);
  }

  /** What QEMU asked for since the last call, in order; a refusal has its errno at the end. */
  take(): string[] {
    return this.takeEvents().map(({ op, event }) => {
      const range = `${page(event.iova)}+${page(event.size)}`;
      const refused = event.result === 'ok' ? '' : ` ${event.result}`;
      return `${op} ${range}${refused}`;
    });
  }
}

function mappingText({ iova, size, offset, access }: DmaMapping): DmaText {
  return dmaText(Number(iova >> 12n), Number(size >> 12n), Number(offset >> 12n), access);
}

function page(bytes: bigint): string {
  return (bytes >> 12n).toString(16);
}
