/** PCI requester IDs: who a DMA request comes from, as the IOMMU sees it. @module */

/** Bus (bits 15:8), device (7:3) and function (2:0) of a requester, 0 to 0xffff. */
export type RequesterId = number;

/** The requester ID of `bus` (0-255), `device` (0-31) and `fn` (0-7). */
export function requesterId(bus: number, device: number, fn: number): RequesterId {
  if (!(bus >= 0 && bus <= 0xff && device >= 0 && device <= 0x1f && fn >= 0 && fn <= 7)) {
    throw new RangeError(`${bus}:${device}.${fn} is not a bus (0-255), device (0-31) and function (0-7)`);
  }
  return (bus << 8) | (device << 3) | fn;
}

/** `BB:DD.F` in hexadecimal, as lspci prints it. */
export function formatRequesterId(requester: RequesterId): string {
  return `${hex(requester >> 8)}:${hex((requester >> 3) & 0x1f)}.${requester & 7}`;
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}

/** Parses `BB:DD.F` (an optional domain `0000:` in front is accepted); undefined when the text is none. */
export function parseRequesterId(text: string): RequesterId | undefined {
  const match = /^(?:0000:)?([0-9a-f]{1,2}):([01]?[0-9a-f])\.([0-7])$/i.exec(text);
  if (match === null) return undefined;
  const [, bus, device, fn] = match;
  return requesterId(Number.parseInt(bus ?? '', 16), Number.parseInt(device ?? '', 16), Number(fn));
}
