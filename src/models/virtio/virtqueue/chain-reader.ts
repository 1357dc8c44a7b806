/** From descriptors to buffers, whatever a driver wrote into them. @module */
import * as spec from '../spec/index.ts';
import type { Segment } from './chain.ts';
import { type GuestRam, type Place, placeBehind, placeOf } from './guest-ram.ts';

/** Most bytes of one buffer: a driver must not make a longer one (virtio 1.3, 2.7.5.2). */
const MOST_BYTES = 2 ** 32;

/** A table of descriptors: the queue's own, or an indirect one. */
interface Table {
  readonly place: Place;
  readonly entries: number;
}

/** Follows chains through the descriptor table of one queue. */
export class ChainReader {
  readonly #ram: GuestRam;
  readonly #table: Table;
  readonly #indirect: boolean;
  readonly #bytes: Uint8Array = new Uint8Array(spec.DESC_BYTES);
  readonly #view: DataView = new DataView(this.#bytes.buffer);

  /** `size` descriptors from `place` on; `indirect` when VIRTIO_F_INDIRECT_DESC was negotiated. */
  constructor(ram: GuestRam, place: Place, size: number, indirect: boolean) {
    this.#ram = ram;
    this.#table = { place, entries: size };
    this.#indirect = indirect;
  }

  /**
   * The parts of the buffer that begins with descriptor `head`, or what is wrong with it. Reads at most as many
   * descriptors as the queue has, and one more: no chain may be longer (virtio 1.3, 2.7.5.3.1), so a loop is found too.
   */
  read(head: number): { readonly readable: Segment[]; readonly writable: Segment[] } | string {
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    const most = this.#table.entries;
    let table = this.#table;
    let index = head;
    let bytes = 0;
    for (let count = 0; ; ) {
      if (index >= table.entries) return `descriptor ${index} lies beyond its table of ${table.entries}`;
      if (!this.#ram.read(placeBehind(table.place, index * spec.DESC_BYTES), this.#bytes)) {
        return 'a descriptor does not lie in RAM';
      }
      const flags = this.#view.getUint16(spec.DESC_FLAGS, true);
      const length = this.#view.getUint32(spec.DESC_LEN, true);
      const place = placeOf(
        this.#view.getUint32(spec.DESC_ADDR, true),
        this.#view.getUint32(spec.DESC_ADDR + 4, true),
      );
      if ((flags & spec.DESC_F_INDIRECT) !== 0) {
        const inner = this.#enter(table, place, length, flags);
        if (typeof inner === 'string') return inner;
        table = inner;
        index = 0;
        continue;
      }
      if (++count > most) return `the chain is longer than the queue, which has ${most} descriptors`;
      bytes += length;
      if (bytes > MOST_BYTES) return 'the chain has more than 2^32 bytes';
      if ((flags & spec.DESC_F_WRITE) !== 0) writable.push({ place, length });
      else if (writable.length > 0) return 'a device-readable part follows a device-writable one';
      else readable.push({ place, length });
      if ((flags & spec.DESC_F_NEXT) === 0) return { readable, writable };
      index = this.#view.getUint16(spec.DESC_NEXT, true);
    }
  }

  /** An indirect table, of which a chain can have one, at its end (virtio 1.3, 2.7.5.3). */
  #enter(from: Table, place: Place, length: number, flags: number): Table | string {
    if (!this.#indirect) return 'a descriptor is indirect, which was not negotiated';
    if (from !== this.#table) return 'an indirect table refers to another';
    if ((flags & spec.DESC_F_NEXT) !== 0) return 'an indirect descriptor is not the last';
    if (length === 0 || length % spec.DESC_BYTES !== 0) {
      return `an indirect table of ${length} bytes is not made of whole descriptors`;
    }
    return { place, entries: length / spec.DESC_BYTES };
  }
}
