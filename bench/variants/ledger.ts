/** The ledger alone. Every second page is mapped. @module */
import { Ledger } from '../../src/iommu/ledger.ts';
import { Random, shuffled } from '../random.ts';
import type { Variant } from '../variant.ts';

/** Finds in one time over. */
const FINDS = 16384;

/** About what a mapping takes: 32 bytes. */
const LEDGER_DOUBLES = 4;

function order(size: number, ascending: boolean): Uint32Array {
  return ascending ? Uint32Array.from({ length: size }, (_, i) => i) : shuffled(size);
}

function fill(ledger: Ledger, places: Uint32Array): void {
  for (const place of places) ledger.insert(place * 2, 1, place, 3);
}

/** Entering `size` mappings into an empty ledger. */
export function ledgerInsert(size: number, ascending: boolean): Variant {
  const places = order(size, ascending);
  let ledger = new Ledger();
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        ledger = new Ledger();
        fill(ledger, places);
      }
      return times * size;
    },
    check: () => `${ledger.size} mappings`,
  };
}

/** Finding mappings of a ledger of `size` that was filled in no order. */
export function ledgerFind(size: number): Variant {
  const ledger = new Ledger();
  fill(ledger, order(size, false));
  const bits = Math.log2(size);
  let found = 0;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const random = new Random();
        found = 0;
        for (let n = 0; n < FINDS; n++) {
          if (ledger.find(random.next(bits) * 2) !== undefined) found++;
        }
      }
      return times * FINDS;
    },
    check: () => `${found} found`,
  };
}

/** Removing every mapping of a ledger of `size`, in no order. */
export function ledgerRemove(size: number): Variant {
  const places = order(size, false);
  let full: Ledger[] = [];
  let left = 0;
  return {
    prepare(times) {
      full = Array.from({ length: times }, () => {
        const ledger = new Ledger();
        fill(ledger, places);
        return ledger;
      });
    },
    run(times) {
      for (const ledger of full) {
        for (const place of places) ledger.remove(place * 2, 1);
        left += ledger.size;
      }
      return times * size;
    },
    check: () => `${left} left`,
  };
}

/** One read of memory of a ledger's size, in no order: what the machine's caches give and take, whatever the code. */
export function randomRead(size: number): Variant {
  const memory = new Float64Array(size * LEDGER_DOUBLES).fill(1);
  const bits = Math.log2(memory.length);
  let sum = 0;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const random = new Random();
        sum = 0;
        for (let n = 0; n < FINDS; n++) sum += memory[random.next(bits)];
      }
      return times * FINDS;
    },
    check: () => `${sum} read`,
  };
}

/**
 * What a ledger of `size` mappings takes, by its own account and by that of the process. Looked at once, in a process
 * that has held no other: memory that is given back is counted as held for a while.
 */
export function ledgerBytes(size: number, ascending: boolean): Variant {
  const places = order(size, ascending);
  const ledger = new Ledger();
  globalThis.gc?.();
  const before = process.memoryUsage();
  fill(ledger, places);
  globalThis.gc?.();
  const after = process.memoryUsage();
  return {
    run: (times) => times * ledger.size,
    check: () => `${ledger.size} mappings`,
    facts: () => ({
      ledgerBytes: ledger.bytes / size,
      arrayBuffers: (after.arrayBuffers - before.arrayBuffers) / size,
      heap: (after.heapUsed - before.heapUsed) / size,
    }),
  };
}
