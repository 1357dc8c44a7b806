/** A device of ours that QEMU connects to, as the tests look at it: what came, and what is mapped now. @module */
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { linuxPlatform, listen } from '../../../src/linux/index.ts';
import type { Access, ObservedEvent } from '../../../src/memory/index.ts';
import {
  type Channel,
  type DmaEvent,
  type PciDevice,
  type ServerLimits,
  VfioUserServer,
} from '../../../src/vfio-user/index.ts';
import { socketFolder } from './sockets.ts';
import { dmaText, type DmaText } from './tables.ts';

/** A function that does nothing: it is there to be mapped for. */
const INERT: PciDevice = {
  name: 'sink',
  vendorId: 0x1af4,
  deviceId: 0x10f0,
  classCode: 0x00ff00,
  bars: [{ size: 4096, kind: 'memory32', read: () => undefined, write: () => undefined }],
};

/** How a sink differs from the usual one. */
export interface SinkOptions {
  readonly device?: PciDevice;
  /** `exact` refuses what libvfio-user refuses. */
  readonly unmap?: 'contained' | 'exact';
  /** `messages` does without the descriptors that QEMU passes. */
  readonly memory?: 'descriptors' | 'messages';
  readonly limits?: Partial<ServerLimits>;
}

/** A served device. */
export class Sink {
  readonly socket: string;
  readonly server: VfioUserServer;
  /** What the server reported. */
  readonly observed: ObservedEvent[] = [];
  /** The last connection's, to be cut. */
  channel: Channel | undefined;
  /** How clients went, in words. */
  readonly goodbyes: string[] = [];
  /** Called at each map and unmap, with their number so far. */
  onEvent: ((events: number) => void) | undefined;
  readonly #events: Told[] = [];
  #told = 0;

  private constructor(socket: string, options: SinkOptions) {
    const { device = INERT, unmap = 'contained', memory = 'descriptors', limits } = options;
    const { files, eventfds, timers } = linuxPlatform();
    this.socket = socket;
    this.server = new VfioUserServer({
      device,
      unmap,
      timers,
      ...(files !== undefined && memory === 'descriptors' ? { files } : {}),
      ...(eventfds === undefined ? {} : { eventfds }),
      ...(limits === undefined ? {} : { limits }),
      observer: { observe: (event) => void this.observed.push(event) },
      events: {
        mapped: (event) => this.#note({ op: 'map', event }),
        unmapped: (event) => this.#note({ op: 'unmap', event }),
        disconnected: ({ message }) => void this.goodbyes.push(message),
      },
    });
  }

  /** Serves a device on a socket of its own until the test is over. */
  static async serve(options: SinkOptions = {}): Promise<Sink> {
    const sink = new Sink(join(socketFolder(), 'device'), options);
    const listener = await listen(sink.socket, (channel) => {
      sink.channel = channel;
      sink.server.accept(channel);
    });
    onTestFinished(async () => {
      await listener.close();
      await sink.server.close();
    });
    return sink;
  }

  /** What is mapped now, ascending: targets are pages of the file that QEMU shared. */
  get ledger(): DmaText[] {
    return [...this.server.memory.mappings()].map(mappingText);
  }

  /** The same without what is not in a shared file: ROMs, while the device sees memory untranslated. */
  get sharedLedger(): DmaText[] {
    return [...this.server.memory.mappings()].filter(({ shared }) => shared).map(mappingText);
  }

  /** What QEMU asked for since the last call, in order; a refusal has its errno at the end. */
  take(): string[] {
    return this.#events.splice(0).map(({ op, event }) => {
      const range = `${page(event.iova)}+${page(event.size)}`;
      const refused = event.result === 'ok' ? '' : ` ${event.result}`;
      return `${op} ${range}${refused}`;
    });
  }

  /** How many maps and unmaps came since the last {@link take}, and how many of either were refused. */
  get counts(): { readonly maps: number; readonly unmaps: number; readonly refused: number } {
    const of = (op: string): number => this.#events.filter((event) => event.op === op).length;
    const refused = this.#events.filter(({ event }) => event.result !== 'ok').length;
    return { maps: of('map'), unmaps: of('unmap'), refused };
  }

  #note(told: Told): void {
    this.#events.push(told);
    this.#told++;
    this.onEvent?.(this.#told);
  }
}

interface Told {
  readonly op: 'map' | 'unmap';
  readonly event: DmaEvent;
}

interface Mapped {
  readonly iova: bigint;
  readonly size: bigint;
  readonly offset: bigint;
  readonly access: Access;
}

function mappingText({ iova, size, offset, access }: Mapped): DmaText {
  return dmaText(Number(iova >> 12n), Number(size >> 12n), Number(offset >> 12n), access);
}

function page(bytes: bigint): string {
  return (bytes >> 12n).toString(16);
}
