import { type GuestRam, type Place, placeBehind } from './guest-ram.ts';

/** One part of a buffer, contiguous in guest-physical memory. */
export interface Segment {
  readonly place: Place;
  /** Bytes, 0 to 2^32-1. */
  readonly length: number;
}

/** One buffer that a driver made available: a device-readable part, and a device-writable part. */
export class Chain {
  /** The descriptor it begins with, by which it is given back. */
  readonly head: number;
  /** What is wrong with it, for people; a buffer with a flaw has no parts, and is given back unused. */
  readonly flaw: string | undefined;
  readonly #ram: GuestRam;
  readonly #readable: readonly Segment[];
  readonly #writable: readonly Segment[];

  constructor(
    ram: GuestRam,
    head: number,
    parts: { readonly readable: readonly Segment[]; readonly writable: readonly Segment[] } | string,
  ) {
    this.#ram = ram;
    this.head = head;
    this.flaw = typeof parts === 'string' ? parts : undefined;
    this.#readable = typeof parts === 'string' ? [] : parts.readable;
    this.#writable = typeof parts === 'string' ? [] : parts.writable;
  }

  /** Bytes that the device may write. */
  get writableBytes(): number {
    return lengthOf(this.#writable);
  }

  /** The first `most` bytes of the device-readable part, fewer when it is shorter; undefined where they are no RAM. */
  read(most: number): Uint8Array | undefined {
    const data = new Uint8Array(Math.min(most, lengthOf(this.#readable)));
    const complete = onto(this.#readable, 0, data.length, (place, done, count) =>
      this.#ram.read(place, data.subarray(done, done + count)),
    );
    return complete ? data : undefined;
  }

  /** Whether `length` bytes from byte `offset` of the device-writable part on are there and can be written. */
  canWrite(offset: number, length: number): boolean {
    return onto(this.#writable, offset, length, (place, _done, count) => this.#ram.isWritable(place, count));
  }

  /** Writes `data` from byte `offset` of the device-writable part on; false when it does not fit or is no RAM. */
  write(offset: number, data: Uint8Array): boolean {
    return onto(this.#writable, offset, data.length, (place, done, count) =>
      this.#ram.write(place, data.subarray(done, done + count)),
    );
  }
}

function lengthOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { length }) => sum + length, 0);
}

/** Goes over bytes `offset` to `offset + length` of the segments, piece by piece; false when they end before, or a piece fails. */
function onto(
  segments: readonly Segment[],
  offset: number,
  length: number,
  piece: (place: Place, done: number, count: number) => boolean,
): boolean {
  let skip = offset;
  let done = 0;
  for (const segment of segments) {
    if (done === length) break;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const count = Math.min(segment.length - skip, length - done);
    if (!piece(placeBehind(segment.place, skip), done, count)) return false;
    done += count;
    skip = 0;
  }
  return done === length;
}
