/** Takes a message-signalled interrupt of an IOMMU itself: a DWORD `data` written to the byte address `address`. Must not throw. */
export type SendInterrupt = (address: bigint, data: number) => void;

/** The unsigned integer in little-endian `data`, up to 6 bytes. */
export function readLittleEndian(data: Uint8Array): number {
  return data.reduce((value, byte, i) => value + byte * 2 ** (8 * i), 0);
}
