import type { Slot } from '../../../src/conform/index.ts';

/** What a host is asked for. */
export type HostCall = 'map' | 'unmap' | 'barrier';

/**
 * How a call fails.
 * - `full`: just before the map the host says that it has no room.
 * - `refuse`: the operation is not carried out, and the barrier says so.
 * - `lose`: the operation is not carried out, and the barrier fails with another error.
 * - `die`: as `lose`, and so does everything after it, until the host is opened anew.
 * - `throw`: the call itself throws, against the contract.
 */
export type FaultKind = 'full' | 'refuse' | 'lose' | 'die' | 'throw';

const KINDS: Readonly<Record<HostCall, readonly FaultKind[]>> = {
  map: ['full', 'refuse', 'lose', 'die', 'throw'],
  unmap: ['refuse', 'lose', 'die', 'throw'],
  barrier: ['lose', 'die', 'throw'],
};

/** One failure to come. */
export interface PlannedFault {
  /** The number of the call, over all hosts, from 1. */
  readonly call: number;
  /** Chooses among the ways in which that call can fail; 0 or more. */
  readonly choice: number;
}

/** A failure that was. */
export interface Fault {
  readonly call: number;
  readonly of: HostCall;
  readonly kind: FaultKind;
  readonly slot: Slot;
}

/** Counts the calls of all hosts of a run, and says which of them fail. */
export class FaultPlan {
  /** Calls so far. */
  calls = 0;
  /** What no host may be asked for and was. */
  readonly violations: string[] = [];
  /** Failures so far. */
  readonly faults: Fault[] = [];
  readonly #planned: PlannedFault[];

  constructor(planned: readonly PlannedFault[]) {
    this.#planned = planned.toSorted((a, b) => a.call - b.call);
  }

  /** A host is asked for its room, which comes before every map. Whether it says that there is none. */
  isFull(slot: Slot): boolean {
    const next = this.#planned[0];
    if (next?.call !== this.calls + 1 || kindOf(next, 'map') !== 'full') return false;
    this.#planned.shift();
    this.#fail('map', 'full', slot, next.call);
    return true;
  }

  /** How this call fails, if it does. */
  take(of: HostCall, slot: Slot): FaultKind | undefined {
    this.calls++;
    const next = this.#planned[0];
    if (next?.call !== this.calls) return undefined;
    this.#planned.shift();
    const kind = kindOf(next, of);
    this.#fail(of, kind, slot, this.calls);
    return kind;
  }

  #fail(of: HostCall, kind: FaultKind, slot: Slot, call: number): void {
    this.faults.push({ call, of, kind, slot });
  }
}

/** Whether the host is lost by it: what it holds is no longer known. */
export function losesHost({ of, kind }: Fault): boolean {
  return of === 'unmap' || (kind !== 'full' && kind !== 'refuse');
}

export function faultText({ call, of, kind, slot }: Fault): string {
  return `call ${call}, ${of} of ${slot}: ${kind}`;
}

function kindOf({ choice }: PlannedFault, of: HostCall): FaultKind {
  const kinds = KINDS[of];
  return kinds[choice % kinds.length] as FaultKind;
}
