const BYTES = 32;
/** Pages of 4 KiB in 2^32 bytes. */
const PAGES = 2 ** 20;

/**
 * The payload of a DMA_MAP in pages of 4 KiB, filled in anew for each mapping of a replay. `dmaMapRequest` takes bigints
 * and makes an array for each message, which is 0.4 µs of the 2 µs that a mapping takes. Words are written as the host
 * has them, which is little-endian as on the wire.
 */
export class DmaMapPayload {
  readonly #words: Uint32Array = new Uint32Array(BYTES / 4);
  readonly #bytes: Uint8Array = new Uint8Array(this.#words.buffer);

  /** The bytes, until the next call. Pages are 0 to 2^52; `access` has bit 0 for reads and bit 1 for writes. For `sameFile` see `DmaMap`. */
  fill(iova: number, pages: number, offset: number, access: number, sameFile: boolean): Uint8Array {
    this.#words[0] = BYTES;
    this.#words[1] = (access & 3) | (sameFile ? 0x10 : 0);
    this.#put(2, offset);
    this.#put(4, iova);
    this.#put(6, pages);
    return this.#bytes;
  }

  #put(word: number, page: number): void {
    this.#words[word] = (page % PAGES) * 4096;
    this.#words[word + 1] = Math.floor(page / PAGES);
  }
}
