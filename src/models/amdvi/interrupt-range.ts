import type { PageRange } from '../../memory/index.ts';

/** Pages of the interrupt address range (AMD-Vi 2.1, special address ranges): what devices write there are interrupt requests, which no table translates. */
export const INTERRUPT_RANGE: PageRange = { start: 0xfee00, end: 0xfef00 };
