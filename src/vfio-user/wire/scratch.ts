/**
 * Fields of small payloads that come and go by the ten thousand, DMA_MAP and DMA_UNMAP, without a DataView for each:
 * copying 32 bytes into one that is there takes 33 ns, making one and reading through it 65 ns, and garbage is left.
 *
 * @module
 */

/** The largest such payload. */
const BYTES = 32;

const bytes = new Uint8Array(BYTES);
const view = new DataView(bytes.buffer);

/** A view to write the fields of a payload through; they last until the next call of a function of this file. */
export function fieldsToWrite(): DataView {
  return view;
}

/** The first `length` bytes that were written, at most 32, as a new array. */
export function written(length: number): Uint8Array {
  return bytes.slice(0, length);
}

/** The first `length` bytes of `payload`, at most 32, which must be there; they last until the next call of a function of this file. */
export function fieldsOf(payload: Uint8Array, length: number): DataView {
  // `set` would need a subarray, which takes 37 ns.
  for (let i = 0; i < length; i++) bytes[i] = payload[i]!;
  return view;
}
