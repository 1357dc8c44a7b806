import { type Descriptor, releaseAll } from '../vfio-user/index.ts';

/** Bytes that wait to be sent in one call, and the descriptors that go with the first of them. */
export interface QueuedBytes {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

interface Block {
  bytes: Uint8Array;
  start: number;
  end: number;
  descriptors: readonly Descriptor[];
  /**
   * Whether later bytes may be added. Not to bytes with descriptors: a reader takes descriptors to belong to the last
   * message of what it read at once, and it reads what was sent at once.
   */
  readonly open: boolean;
}

const BLOCK_BYTES = 65_536;
const NONE: readonly Descriptor[] = [];
const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What a socket did not take yet, in order. */
export class SendQueue {
  #blocks: Block[] = [];
  #first = 0;
  #bytes = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#bytes;
  }

  /** Adds a copy of `bytes`, at least one; holds `descriptors` until the first byte is taken or the queue is cleared. */
  push(bytes: Uint8Array, descriptors: readonly Descriptor[] = NONE): void {
    this.#bytes += bytes.length;
    if (descriptors.length === 0 && this.#append(bytes)) return;
    this.#blocks.push({
      bytes: bytes.slice(),
      start: 0,
      end: bytes.length,
      descriptors: descriptors.map((descriptor) => descriptor.hold()),
      open: descriptors.length === 0,
    });
  }

  /** What is to be sent next; undefined when nothing waits. */
  head(): QueuedBytes | undefined {
    const block = this.#blocks[this.#first];
    if (block === undefined) return undefined;
    return { bytes: block.bytes.subarray(block.start, block.end), descriptors: block.descriptors };
  }

  /** The first `count` bytes of {@link head}, at least one, are sent. */
  taken(count: number): void {
    const block = this.#blocks[this.#first];
    if (block === undefined) return;
    releaseAll(block.descriptors);
    block.descriptors = NONE;
    block.start += count;
    this.#bytes -= count;
    if (block.start < block.end) return;
    // The block stays in the list for a while; its bytes, which may be many, need not.
    block.bytes = NO_BYTES;
    this.#first++;
    if (this.#first > 64 && this.#first * 2 > this.#blocks.length) {
      this.#blocks = this.#blocks.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Nothing will be sent any more. */
  clear(): void {
    for (const block of this.#blocks.slice(this.#first)) releaseAll(block.descriptors);
    this.#blocks = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  /** Adds to the last block. Many small messages to a slow peer cost their bytes, not an object each. */
  #append(bytes: Uint8Array): boolean {
    const last = this.#blocks[this.#blocks.length - 1];
    if (last === undefined || !last.open || last.start === last.end) return false;
    const end = last.end + bytes.length;
    if (end > last.bytes.length) {
      if (end > BLOCK_BYTES) return false;
      const grown = new Uint8Array(Math.min(BLOCK_BYTES, Math.max(end, last.bytes.length * 2)));
      grown.set(last.bytes.subarray(0, last.end));
      last.bytes = grown;
    }
    last.bytes.set(bytes, last.end);
    last.end = end;
    return true;
  }
}
