import type { RegisterFile } from '../register-file.ts';
import * as spec from './spec/index.ts';

/** A command buffer or event log in memory, as its base register describes it. */
export interface Ring {
  /** First page. */
  readonly page: number;
  /** Bytes, a power of two. */
  readonly bytes: number;
}

/** The ring of the base register at `offset`; undefined when its length is a reserved one. */
export function ringAt(registers: RegisterFile, offset: number): Ring | undefined {
  const high = registers.get(offset + 4);
  const length = (high & spec.RING_LENGTH_HI) >>> spec.RING_LENGTH_SHIFT_HI;
  if (length < spec.RING_LENGTH_MINIMUM) return undefined;
  const page = spec.pageOf(registers.get(offset), high & spec.BASE_PAGE_HI);
  return { page, bytes: spec.COMMAND_BYTES << length };
}

/** A head or tail register's offset into `ring`. The specification leaves open what an offset beyond the end does; here it wraps. */
export function ringOffset(registers: RegisterFile, offset: number, ring: Ring): number {
  return registers.get(offset) & (ring.bytes - 1);
}
