/**
 * What the guest of these benchmarks maps: pages of 4 KiB, one behind the other, onto pages scattered over RAM, every
 * eighth read-only. client.c has the same formulas.
 *
 * @module
 */
import { Access } from '../../src/memory/index.ts';

/** Pages of guest RAM, from page 0 on: 2 GiB, which a q35 machine has in one piece. */
export const RAM_PAGES = 0x8_0000;

/** RAM that the guest's driver takes its tables from. */
export const TABLE_RAM = { start: 0x7_0000, end: 0x7_c000 } as const;

/** Page of the input space that the first mapping translates. */
export const FIRST_IOVA = 0x1000;

/** Pages of the input space, far behind the others, that live sync maps. */
export const SYNC_IOVA = 0x20_0000;

const DATA_START = 0x1000;
const DATA_PAGES = 0x6_0000;

/** The page that mapping `i` leads to: another one for each. */
export function targetOf(i: number): number {
  return DATA_START + ((i * 7919) % DATA_PAGES);
}

/** What mapping `i` allows. */
export function accessOf(i: number): Access {
  return i % 8 === 7 ? Access.Read : Access.ReadWrite;
}
