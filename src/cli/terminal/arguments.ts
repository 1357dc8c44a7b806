/** What people write on the command line, as values. Each parser throws commander's InvalidArgumentError. @module */
import { InvalidArgumentError } from 'commander';
import { parseRequesterId, type RequesterId } from '../../iommu/index.ts';
import { PAGE_SIZE } from '../../memory/index.ts';
import type { RegisterValue } from '../models/core-model.ts';

/** `BB:DD.F`. */
export function requesterArgument(text: string): RequesterId {
  const requester = parseRequesterId(text);
  if (requester === undefined) {
    throw new InvalidArgumentError('Write bus:device.function in hexadecimal, as 02:00.0.');
  }
  return requester;
}

/** A byte address, `0x` and up to sixteen digits. */
export function addressArgument(text: string): bigint {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) {
    throw new InvalidArgumentError('Write a hexadecimal address of up to 64 bits, as 0xffe59000.');
  }
  return BigInt(text);
}

/** The value of a 64-bit register, as two words. */
export function registerArgument(text: string): RegisterValue {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) {
    throw new InvalidArgumentError('Write a hexadecimal register value of up to 64 bits, as 0x244c7000.');
  }
  const value = BigInt(text);
  return { lo: Number(value & 0xffff_ffffn), hi: Number(value >> 32n) };
}

/** A PASID of 1 to 2^20-1. Requests without one are what is looked at when the option is left out. */
export function pasidArgument(text: string): number {
  const pasid = /^(?:\d{1,7}|0x[0-9a-f]{1,5})$/i.test(text) ? Number(text) : 0;
  if (pasid < 1 || pasid >= 2 ** 20) {
    throw new InvalidArgumentError(
      'A PASID is 1 to 1048575; leave the option out for requests without PASID.',
    );
  }
  return pasid;
}

/** A number of mappings, at least 1. */
export function budgetArgument(text: string): number {
  const budget = /^\d{1,12}$/.test(text) ? Number(text) : 0;
  if (budget < 1) throw new InvalidArgumentError('Write a number of mappings, 1 to 999999999999.');
  return budget;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** The page size of a host in bytes: a power of two from 4 KiB to 1 GiB, with an optional unit. */
export function pageSizeArgument(text: string): number {
  const match = /^(\d{1,10})([kmg]?)(?:i?b)?$/i.exec(text);
  const size = Number(match?.[1] ?? 0) * (SIZE_UNITS[match?.[2]?.toLowerCase() ?? ''] ?? 0);
  if (size < PAGE_SIZE || size > 2 ** 30 || !Number.isInteger(Math.log2(size))) {
    throw new InvalidArgumentError('Write a power of two from 4096 to 1G, as 65536 or 64K.');
  }
  return size;
}
