import type { RamBlock } from '../../src/memory/index.ts';
import { RamRegion } from '../../src/memory/index.ts';
import type { Channel, ChannelListener } from '../../src/vfio-user/channel.ts';
import { Descriptor } from '../../src/vfio-user/descriptor.ts';
import type { SharedFile, SharedFiles, SystemRefusal } from '../../src/vfio-user/platform.ts';

/** How a pair of channels behaves. */
export interface ChannelPairOptions {
  /** Whether descriptors pass; true unless given. */
  readonly descriptors?: boolean;
  /** The most bytes of one delivery, asked before each; at least 1. 64 KiB unless given. */
  readonly split?: number | (() => number);
}

/**
 * Two ends of one stream in memory. What one end sends, the other receives in later microtasks: sends are glued and
 * cut as by a UNIX stream socket, so that bytes before descriptors may come with them and bytes behind them never do.
 */
export function createChannelPair(options: ChannelPairOptions = {}): [MemoryChannel, MemoryChannel] {
  const one = new MemoryChannel(options);
  const other = new MemoryChannel(options);
  one.peer = other;
  other.peer = one;
  return [one, other];
}

interface Parcel {
  bytes: Uint8Array;
  descriptors: Descriptor[];
}

/** One end of a pair; see {@link createChannelPair}. */
export class MemoryChannel implements Channel {
  readonly passesDescriptors: boolean;
  /** The other end. */
  peer: MemoryChannel = this;
  /** Bytes ever sent from this end. */
  sentBytes = 0;
  readonly #split: () => number;
  /** What the other end sent and this one has not received yet. */
  readonly #incoming: Parcel[] = [];
  #incomingBytes = 0;
  #isQueued = false;
  #listener: ChannelListener | undefined;
  #paused = false;
  #scheduled = false;
  /** This end was closed: it receives and sends nothing more. */
  #closing = false;
  /** The other end sends nothing more. */
  #peerEnded = false;
  #error: Error | undefined;
  #over = false;

  /** Made by {@link createChannelPair}. */
  constructor({ descriptors = true, split = 65_536 }: ChannelPairOptions) {
    this.passesDescriptors = descriptors;
    this.#split = typeof split === 'number' ? () => split : split;
  }

  get queuedBytes(): number {
    return this.peer.#incomingBytes;
  }

  /** Whether the end was told to the listener, or would have been. */
  get over(): boolean {
    return this.#over;
  }

  /** Whether reading is paused. */
  get paused(): boolean {
    return this.#paused;
  }

  start(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new Error('the channel was started already');
    this.#listener = listener;
    this.#schedule();
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    if (descriptors.length > 0 && !this.passesDescriptors)
      throw new Error('this channel passes no descriptors');
    if (this.#closing || this.#over || this.peer.#closing || this.peer.#over || bytes.length === 0) return;
    this.sentBytes += bytes.length;
    this.#isQueued = true;
    this.peer.#arrive({
      bytes: bytes.slice(),
      descriptors: descriptors.map((descriptor) => duplicate(descriptor.hold())),
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  close(discard = false): void {
    if (this.#over) return;
    this.#closing = true;
    this.#dropIncoming();
    if (discard) this.peer.#dropIncoming();
    this.peer.#peerEnded = true;
    this.#schedule();
    this.peer.#schedule();
  }

  /** Breaks the stream as an error of the system would: both ends are over at once, this one with `error`. */
  fail(error: Error): void {
    this.#error = error;
    this.close(true);
  }

  #arrive(parcel: Parcel): void {
    this.#incoming.push(parcel);
    this.#incomingBytes += parcel.bytes.length;
    this.#schedule();
  }

  #dropIncoming(): void {
    for (const parcel of this.#incoming) for (const descriptor of parcel.descriptors) descriptor.release();
    this.#incoming.length = 0;
    this.#incomingBytes = 0;
  }

  #schedule(): void {
    if (this.#scheduled || this.#listener === undefined || this.#over) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#deliver(this.#listener!);
    });
  }

  #deliver(listener: ChannelListener): void {
    let delivered = false;
    while (!this.#paused && !this.#closing && this.#incoming.length > 0) {
      const { bytes, descriptors } = this.#take();
      delivered = true;
      listener.received(bytes, descriptors);
      // What was handed over is the listener's only during the call.
      bytes.fill(0xee);
    }
    if (delivered && !this.#closing) listener.idle();
    if (this.#over) return;
    if (this.#isQueued && this.queuedBytes === 0) {
      this.#isQueued = false;
      if (!this.#closing) listener.drained();
    }
    const isSentTaken = this.peer.#incoming.length === 0 || this.peer.#closing;
    const isReceivedTaken = this.#incoming.length === 0;
    if ((this.#closing && isSentTaken) || (this.#peerEnded && isReceivedTaken && !this.#closing)) {
      this.#over = true;
      this.peer.#peerEnded = true;
      listener.closed(this.#error);
    }
    // The other end may wait for what was sent to be taken, or for the end.
    if (delivered || this.#over) this.peer.#schedule();
  }

  /** The next delivery: as much as fits, ending with the first parcel that has descriptors. */
  #take(): Parcel {
    const room = Math.max(1, this.#split());
    const pieces: Uint8Array[] = [];
    let descriptors: Descriptor[] = [];
    let length = 0;
    for (let next = this.#incoming[0]; next !== undefined && length < room; next = this.#incoming[0]) {
      const piece = next.bytes.subarray(0, room - length);
      pieces.push(piece);
      length += piece.length;
      descriptors = next.descriptors;
      next.descriptors = [];
      next.bytes = next.bytes.subarray(piece.length);
      if (next.bytes.length === 0) this.#incoming.shift();
      if (descriptors.length > 0) break;
    }
    this.#incomingBytes -= length;
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return { bytes, descriptors };
  }
}

/** As the kernel does: the receiver gets a descriptor of its own for the same file. */
function duplicate(original: Descriptor): Descriptor {
  return new Descriptor(original.number, () => original.release());
}

const openNumbers: Map<number, number> = new Map();

/** A descriptor of no real file, held once by the caller. */
export function fakeDescriptor(number: number): Descriptor {
  openNumbers.set(number, (openNumbers.get(number) ?? 0) + 1);
  return new Descriptor(number, () => {
    const left = openNumbers.get(number)! - 1;
    if (left === 0) openNumbers.delete(number);
    else openNumbers.set(number, left);
  });
}

/** How many fake descriptors of this test file are open, wherever they are. */
export function openFakeDescriptors(): number {
  let open = 0;
  for (const count of openNumbers.values()) open += count;
  return open;
}

/** What a fake file is like. */
export interface FakeFileOptions {
  /** Whether devices may write; true unless given. */
  readonly writable?: boolean;
  /** The errno's name with which opening it is refused. */
  readonly refused?: string;
}

/** Shared files over blocks of memory. Counts what was done, and which files are open. */
export class FakeFiles implements SharedFiles {
  identified = 0;
  opened = 0;
  /** Files opened and not released. */
  openFiles = 0;
  readonly #files: Map<number, { key: string; block: RamBlock } & FakeFileOptions> = new Map();
  /** Pages that each file has now. */
  readonly #lengths: Map<string, number> = new Map();
  #nextNumber = 1000;

  /** A new descriptor, held by the caller, of the file `key` whose content is `block`; a file that was shared before grows to it. */
  share(key: string, block: RamBlock, options: FakeFileOptions = {}): Descriptor {
    const number = this.#nextNumber++;
    this.#files.set(number, { key, block, ...options });
    this.#lengths.set(key, Math.max(block.pages, this.#lengths.get(key) ?? 0));
    return fakeDescriptor(number);
  }

  /** Lets the file `key` be only `pages` pages long from now on. */
  truncate(key: string, pages: number): void {
    this.#lengths.set(key, pages);
  }

  identify(descriptor: Descriptor): string | undefined {
    this.identified++;
    return this.#files.get(descriptor.number)?.key;
  }

  open(descriptor: Descriptor): SharedFile | SystemRefusal {
    const file = this.#files.get(descriptor.number);
    if (file === undefined) return { errno: 'EINVAL', reason: 'no file of memory' };
    if (file.refused !== undefined) return { errno: file.refused, reason: 'refused by the test' };
    this.opened++;
    this.openFiles++;
    let isOpen = true;
    return {
      key: file.key,
      region: new RamRegion(`file ${file.key}`, file.block),
      writable: file.writable ?? true,
      contains: (endPage) => endPage <= Math.min(file.block.pages, this.#lengths.get(file.key)!),
      release: () => {
        if (!isOpen) throw new Error(`file ${file.key} is released already`);
        isOpen = false;
        this.openFiles--;
      },
    };
  }
}
