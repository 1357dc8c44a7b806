/** Whether a device can be one; what is wrong with it is a mistake in a program, and thrown. @module */
import { PAGE_SIZE } from '../../memory/index.ts';
import { BARS } from './config-layout.ts';
import type { Bar, PciDevice } from './pci-device.ts';

/** Most vectors that a table size field of 11 bits can say. */
const MAX_MSIX_VECTORS = 2048;
/** Beyond what any processor addresses, and far below where a JS number stops being exact. */
const LARGEST_BAR = 2 ** 47;

/** Throws a RangeError that says what is wrong with `device`, and what would be right. */
export function checkDevice(device: PciDevice): void {
  const fail = (what: string): never => {
    throw new RangeError(`${device.name}: ${what}`);
  };
  checkNumber(fail, 'vendorId', device.vendorId, 16);
  checkNumber(fail, 'deviceId', device.deviceId, 16);
  checkNumber(fail, 'classCode', device.classCode, 24);
  checkNumber(fail, 'revision', device.revision ?? 0, 8);
  checkNumber(fail, 'subsystemVendorId', device.subsystemVendorId ?? 0, 16);
  checkNumber(fail, 'subsystemId', device.subsystemId ?? 0, 16);
  const bars = device.bars ?? [];
  if (bars.length > BARS) fail(`${bars.length} BARs; a function has six at most`);
  bars.forEach((bar, number) => {
    if (bar !== undefined) checkBar(fail, bars, number, bar);
  });
  for (const { id, bytes, writable } of device.capabilities ?? []) {
    checkNumber(fail, 'the id of a capability', id, 8);
    if (writable !== undefined && writable.length !== bytes.length) {
      fail(`capability 0x${id.toString(16)} has ${bytes.length} bytes and masks for ${writable.length}`);
    }
  }
  if (device.msi !== undefined && ![1, 2, 4, 8, 16, 32].includes(device.msi.vectors)) {
    fail(`${device.msi.vectors} MSI vectors; there are 1, 2, 4, 8, 16 or 32`);
  }
  checkMsix(fail, device);
}

type Fail = (what: string) => never;

function checkNumber(fail: Fail, what: string, value: number, bits: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
    fail(`${what} is ${value}; it is a number of ${bits} bits`);
  }
}

function checkBar(fail: Fail, bars: readonly (Bar | undefined)[], number: number, bar: Bar): void {
  const { size, kind, memory } = bar;
  const least = kind === 'io' ? 4 : 16;
  const most = kind === 'memory64' ? LARGEST_BAR : 2 ** 31;
  if (!Number.isInteger(Math.log2(size)) || size < least || size > most) {
    fail(`BAR ${number} has ${size} bytes; a power of two from ${least} to ${most} is possible`);
  }
  if (kind === 'memory64' && (number === BARS - 1 || bars[number + 1] !== undefined)) {
    fail(`BAR ${number} has 64 bits and takes number ${number + 1} too: leave that out`);
  }
  if (memory === undefined) return;
  if (size < PAGE_SIZE || kind === 'io') fail(`BAR ${number} is memory: give it whole pages and no io`);
  if (memory.ram.pages * PAGE_SIZE < size) fail(`BAR ${number} has ${size} bytes and its memory has fewer`);
  for (const area of memory.areas ?? []) {
    const isWhole = area.offset % 4096n === 0n && area.size % 4096n === 0n && area.size > 0n;
    if (!isWhole || area.offset < 0n || area.offset + area.size > BigInt(size)) {
      fail(`BAR ${number} has an area ${area.offset}+${area.size}; areas are whole pages inside the BAR`);
    }
  }
}

function checkMsix(fail: Fail, { msix, bars }: PciDevice): void {
  if (msix === undefined) return;
  const { vectors, bar: number, tableOffset, pbaOffset } = msix;
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > MAX_MSIX_VECTORS) {
    fail(`${vectors} MSI-X vectors; there are 1 to ${MAX_MSIX_VECTORS}`);
  }
  const bar = bars?.[number];
  if (bar === undefined || bar.kind === 'io' || bar.memory !== undefined) {
    return fail(`MSI-X lies in BAR ${number}, which must be a memory BAR with handlers`);
  }
  const table = { start: tableOffset, end: tableOffset + vectors * 16 };
  const pba = { start: pbaOffset, end: pbaOffset + Math.ceil(vectors / 64) * 8 };
  for (const { start, end } of [table, pba]) {
    if (start < 0 || start % 8 !== 0 || end > bar.size || end > 2 ** 32) {
      fail(
        `MSI-X at ${start} to ${end} of BAR ${number}: place it at a multiple of 8 within ${bar.size} bytes`,
      );
    }
  }
  if (table.start < pba.end && pba.start < table.end) fail('the MSI-X table and its pending bits overlap');
}
