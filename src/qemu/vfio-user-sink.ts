/** A device of ours that QEMU connects to, with all that QEMU asked it for. @module */
import { join } from 'node:path';
import { linuxPlatform, listen } from '../linux/index.ts';
import type { ObservedEvent } from '../memory/index.ts';
import {
  type Channel,
  type DmaEvent,
  type DmaMapping,
  type PciDevice,
  type ServerLimits,
  VfioUserServer,
} from '../vfio-user/index.ts';

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
  /** Milliseconds for which every map keeps the whole process waiting. */
  readonly delay?: number;
}

/** A map or an unmap that came. */
export interface SinkEvent {
  readonly op: 'map' | 'unmap';
  readonly event: DmaEvent;
}

/** A served device. */
export class VfioUserSink {
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
  readonly #delay: number;
  #events: SinkEvent[] = [];
  #told = 0;
  #close: () => Promise<void> = () => Promise.resolve();

  protected constructor(socket: string, options: SinkOptions) {
    const { device = INERT, unmap = 'contained', memory = 'descriptors', limits, delay = 0 } = options;
    const { files, eventfds, timers } = linuxPlatform();
    this.socket = socket;
    this.#delay = delay;
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

  /** Serves a device on a socket in `folder`, which is the caller's. {@link close} ends it. */
  static async open(folder: string, options: SinkOptions = {}): Promise<VfioUserSink> {
    const sink = new VfioUserSink(join(folder, 'device'), options);
    await sink.listen();
    return sink;
  }

  /** What is mapped now, ascending; offsets are in the file that QEMU shared. */
  mappings(): readonly DmaMapping[] {
    return [...this.server.memory.mappings()];
  }

  /** What QEMU asked for since the last call, in order. */
  takeEvents(): readonly SinkEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** How many maps and unmaps came since the last {@link takeEvents}, and how many of either were refused. */
  get counts(): { readonly maps: number; readonly unmaps: number; readonly refused: number } {
    const of = (op: string): number => this.#events.filter((event) => event.op === op).length;
    const refused = this.#events.filter(({ event }) => event.result !== 'ok').length;
    return { maps: of('map'), unmaps: of('unmap'), refused };
  }

  async close(): Promise<void> {
    await this.#close();
  }

  protected async listen(): Promise<void> {
    const listener = await listen(this.socket, (channel) => {
      this.channel = channel;
      this.server.accept(channel);
    });
    this.#close = async () => {
      await listener.close();
      await this.server.close();
    };
  }

  #note(event: SinkEvent): void {
    if (this.#delay > 0 && event.op === 'map') pause(this.#delay);
    this.#events.push(event);
    this.#told++;
    this.onEvent?.(this.#told);
  }
}

/** A host that is slow keeps its client waiting for the answer, and this process is the host. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
