import { type AddressSpace, PAGE_SIZE, PageCursor, PAGES_END } from '../../../memory/index.ts';

/** A place in guest-physical memory: page number, and byte within the page (0 to 4095). */
export interface Place {
  readonly page: number;
  readonly offset: number;
}

/** The place of the 64-bit byte address with these two words. */
export function placeOf(low: number, high: number): Place {
  return { page: high * 2 ** 20 + (low >>> 12), offset: low & 0xfff };
}

/** The place `bytes` behind `place`; beyond the last page it is no RAM. */
export function placeBehind({ page, offset }: Place, bytes: number): Place {
  const at = offset + bytes;
  return { page: page + Math.floor(at / PAGE_SIZE), offset: at % PAGE_SIZE };
}

/** Reads and writes guest RAM, and nothing else: a driver's addresses must not reach registers, which have effects. */
export class GuestRam {
  readonly #memory: AddressSpace;
  readonly #cursor: PageCursor = new PageCursor();
  readonly #scratch: Uint8Array = new Uint8Array(4);

  constructor(memory: AddressSpace) {
    this.#memory = memory;
  }

  /** Fills `data` from `place` on; false, with `data` partly filled, where there is no RAM. */
  read(place: Place, data: Uint8Array): boolean {
    return this.#each(place, data.length, false, (bytes, done) => data.set(bytes, done));
  }

  /** Stores `data` from `place` on; false, with a part stored, where there is no RAM that can be written. */
  write(place: Place, data: Uint8Array): boolean {
    return this.#each(place, data.length, true, (bytes, done) =>
      bytes.set(data.subarray(done, done + bytes.length)),
    );
  }

  /** Whether `length` bytes from `place` on can be written. */
  isWritable(place: Place, length: number): boolean {
    return this.#each(place, length, true, () => undefined);
  }

  /** A le16; undefined where there is no RAM. */
  read16(place: Place): number | undefined {
    const bytes = this.#scratch.subarray(0, 2);
    return this.read(place, bytes) ? bytes[0]! | (bytes[1]! << 8) : undefined;
  }

  /** Stores a le16. */
  write16(place: Place, value: number): boolean {
    const bytes = this.#scratch.subarray(0, 2);
    bytes[0] = value & 0xff;
    bytes[1] = (value >>> 8) & 0xff;
    return this.write(place, bytes);
  }

  #each(
    { page, offset }: Place,
    length: number,
    forWrite: boolean,
    use: (bytes: Uint8Array, done: number) => void,
  ): boolean {
    let at = page;
    let from = offset;
    for (let done = 0; done < length; ) {
      if (at >= PAGES_END || !this.#memory.locate(at, this.#cursor, forWrite)) return false;
      const count = Math.min(PAGE_SIZE - from, length - done);
      use(this.#cursor.bytes().subarray(from, from + count), done);
      done += count;
      from = 0;
      at++;
    }
    return true;
  }
}
