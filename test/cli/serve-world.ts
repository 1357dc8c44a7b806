import { run } from '../../src/cli/run.ts';
import type { Controls, ControlSignal } from '../../src/cli/serve/controls.ts';
import type { LiveWorld } from '../../src/cli/serve/live-world.ts';
import { type CommandIo, OutputClosedError } from '../../src/cli/terminal/io.ts';
import { DenseRamBlock } from '../../src/memory/index.ts';
import {
  type Channel,
  Command,
  Connection,
  dmaMapRequest,
  dmaUnmapRequest,
  type Descriptor,
  type Reply,
  versionRequest,
  type Timers,
} from '../../src/vfio-user/index.ts';
import { createChannelPair, FakeFiles, type MemoryChannel } from '../vfio-user/memory-channel.ts';

/** Noon, UTC, of the first day of 2026. */
export const NOON: number = Date.UTC(2026, 0, 1, 12);

/** How the surroundings are. */
export interface LiveOptions {
  readonly terminal?: boolean;
  /** Why there are only messages. */
  readonly messagesOnly?: string;
  /** What `listen` rejects with. */
  readonly listenError?: Error;
  /** The reader of standard output goes away after so many writes. */
  readonly closesAfter?: number;
  /** Standard output is read only when `read` is called. */
  readonly slow?: boolean;
  /** Connects to a server; rejects like `connect`. */
  readonly connect?: (path: string) => Promise<Channel>;
}

/** Time in which what is short, as the end of a connection, takes no time, and what is long never comes. */
const SHORT_TIMERS: Timers = {
  after: (milliseconds, action) => {
    const timer = milliseconds < 1000 ? setImmediate(action) : undefined;
    return { cancel: () => clearImmediate(timer) };
  },
};

/** A command that runs on, in this process, with everything around it in the test's hands. */
export class LiveCommand {
  out = '';
  err = '';
  /** Whether what was not written was given up. */
  gaveUp = false;
  readonly code: Promise<number>;
  readonly files: FakeFiles = new FakeFiles();
  /** Paths listened on now. */
  readonly listening: Set<string> = new Set();
  /** Who can be heard still, of signals and standard input. */
  readonly hearers: Map<string, () => void> = new Map();
  /** Milliseconds since 1970. */
  now: number = NOON;
  readonly #beats: Set<() => void> = new Set();
  readonly #waits: (() => void)[] = [];
  #onChannel: ((channel: Channel) => void) | undefined;
  #onLine: ((line: string) => Promise<void>) | undefined;
  #unread: (() => void) | undefined;

  constructor(argv: readonly string[], options: LiveOptions = {}) {
    this.code = run(argv, this.#io(options), undefined, this.#world(options));
  }

  /** Resolves when it listens, or has ended. */
  async started(): Promise<this> {
    const state = { ended: false };
    void this.code.finally(() => {
      state.ended = true;
    });
    while (this.listening.size === 0 && !state.ended) await this.settle();
    await this.settle();
    return this;
  }

  /** Lets everything happen that can without time passing. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  signal(signal: ControlSignal): void {
    this.hearers.get(signal)?.();
  }

  /** A line on standard input; resolves when the next would be read. */
  async line(text: string): Promise<void> {
    await this.#onLine?.(text);
  }

  /** What happens regularly happens once. */
  beat(): void {
    for (const beat of this.#beats) beat();
  }

  /** What waits for time to pass goes on. */
  passTime(): void {
    for (const resolve of this.#waits.splice(0)) resolve();
  }

  /** Takes what was written with `slow`. */
  read(): void {
    this.#unread?.();
    this.#unread = undefined;
  }

  /** A VMM connects. */
  connectVmm(): Vmm {
    return new Vmm(this.connectPeer().near, this.files);
  }

  /** Somebody connects: `near` is their end, `far` the command's. */
  connectPeer(): { readonly near: MemoryChannel; readonly far: MemoryChannel } {
    const [near, far] = createChannelPair({ descriptors: true });
    this.#onChannel?.(far);
    return { near, far };
  }

  #io({ terminal = false, closesAfter = Infinity, slow = false }: LiveOptions): CommandIo {
    let writes = 0;
    return {
      out: (text) => {
        if (writes++ >= closesAfter) return Promise.reject(new OutputClosedError('closed'));
        this.out += text;
        if (!slow) return Promise.resolve();
        return new Promise((resolve) => {
          this.#unread = resolve;
        });
      },
      giveUp: () => {
        this.gaveUp = true;
      },
      err: (text) => {
        this.err += text;
      },
      outIsTerminal: terminal,
      errIsTerminal: terminal,
      columns: terminal ? 80 : undefined,
      colours: false,
    };
  }

  #world({ messagesOnly, listenError, connect }: LiveOptions): LiveWorld {
    const controls: Controls = {
      onSignal: (signal, hear) => {
        this.hearers.set(signal, hear);
        return () => void this.hearers.delete(signal);
      },
      onLine: (hear) => {
        this.#onLine = hear;
        this.hearers.set('standard input', () => {});
        return () => void this.hearers.delete('standard input');
      },
    };
    return {
      platform:
        messagesOnly === undefined
          ? {
              mode: 'descriptors',
              files: this.files,
              eventfds: { accepts: () => true, signal: () => {} },
              timers: SHORT_TIMERS,
            }
          : {
              mode: 'messages',
              files: undefined,
              eventfds: undefined,
              timers: SHORT_TIMERS,
              why: messagesOnly,
            },
      listen: (path, onChannel) => {
        if (listenError !== undefined) return Promise.reject(listenError);
        this.listening.add(path);
        this.#onChannel = onChannel;
        return Promise.resolve({
          close: () => {
            this.listening.delete(path);
            return Promise.resolve();
          },
        });
      },
      connect: connect ?? (() => Promise.reject(new Error('the test has no server'))),
      controls,
      clock: {
        now: () => this.now,
        every: (_milliseconds, action) => {
          this.#beats.add(action);
          return () => void this.#beats.delete(action);
        },
        wait: (_milliseconds, signal) =>
          new Promise((resolve) => {
            if (signal.aborted) return resolve();
            const done = (): void => {
              signal.removeEventListener('abort', done);
              resolve();
            };
            signal.addEventListener('abort', done);
            this.#waits.push(done);
          }),
      },
    };
  }
}

/** A client by hand. */
export class Vmm {
  readonly connection: Connection;
  readonly #files: FakeFiles;
  #ram: DenseRamBlock | undefined;

  constructor(channel: Channel, files: FakeFiles) {
    this.#files = files;
    this.connection = new Connection(channel, { name: 'server', onCommand: (command) => command.fail(38) });
  }

  /** VERSION, as QEMU proposes it. */
  version(): Promise<Reply> {
    const capabilities = { maxMsgFds: 16, maxDmaMaps: 65_535, maxDataXferSize: 2 ** 20, pgsizes: 4096n };
    return this.connection.request(
      Command.VERSION,
      versionRequest.encode({ major: 0, minor: 0, capabilities }),
    );
  }

  /** DMA_MAP of `pages` pages of one file of RAM; resolves to the errno. */
  async map(iova: bigint, pages: number, { offset = 0n, write = true } = {}): Promise<number> {
    this.#ram ??= new DenseRamBlock(2 ** 20);
    const file: Descriptor = this.#files.share('ram', this.#ram);
    const size = BigInt(pages) * 4096n;
    const payload = dmaMapRequest.encode({ read: true, write, offset, address: iova, size });
    const reply = this.connection.request(Command.DMA_MAP, payload, [file]);
    this.connection.flush();
    file.release();
    return (await reply).errno;
  }

  /** DMA_UNMAP; resolves to the errno. */
  async unmap(iova: bigint, size: bigint): Promise<number> {
    const payload = dmaUnmapRequest.encode({ dirtyBitmap: false, all: false, address: iova, size });
    return (await this.connection.request(Command.DMA_UNMAP, payload)).errno;
  }
}
