/** Requests of the virtio IOMMU device as values (virtio 1.3, 5.13.6). @module */

/** Byte addresses, all inclusive. */
export type VirtioRequest =
  | { readonly do: 'attach'; readonly domain: number; readonly endpoint: number; readonly flags: number }
  | { readonly do: 'detach'; readonly domain: number; readonly endpoint: number }
  | {
      readonly do: 'map';
      readonly domain: number;
      readonly first: bigint;
      readonly last: bigint;
      readonly to: bigint;
      readonly flags: number;
    }
  | { readonly do: 'unmap'; readonly domain: number; readonly first: bigint; readonly last: bigint }
  | { readonly do: 'probe'; readonly endpoint: number }
  /** A reserved field that must be 0 is not. */
  | { readonly do: 'invalid' };

/** Bytes of each type of request without its tail, by `type`. */
const LENGTHS: Readonly<Record<number, number>> = { 1: 20, 2: 20, 3: 36, 4: 28, 5: 72 };

/** The request that begins with these bytes, hexadecimal; undefined when a device cannot answer it. */
export function requestOf(bytes: string): VirtioRequest | undefined {
  const view = new DataView(Uint8Array.from(Buffer.from(bytes, 'hex')).buffer);
  if (view.byteLength === 0) return undefined;
  const length = LENGTHS[view.getUint8(0)];
  if (length === undefined || view.byteLength < length) return undefined;
  const le32 = (offset: number): number => view.getUint32(offset, true);
  const le64 = (offset: number): bigint => view.getBigUint64(offset, true);
  switch (view.getUint8(0)) {
    case 1:
      if (le32(16) !== 0) return { do: 'invalid' };
      return { do: 'attach', domain: le32(4), endpoint: le32(8), flags: le32(12) };
    case 2:
      return { do: 'detach', domain: le32(4), endpoint: le32(8) };
    case 3:
      return { do: 'map', domain: le32(4), first: le64(8), last: le64(16), to: le64(24), flags: le32(32) };
    case 4:
      if (le32(24) !== 0) return { do: 'invalid' };
      return { do: 'unmap', domain: le32(4), first: le64(8), last: le64(16) };
    default:
      return { do: 'probe', endpoint: le32(4) };
  }
}
