import type { FaultStatus } from './fault-status.ts';
import type { RegisterFile } from '../register-file.ts';
import * as spec from './spec/index.ts';

/** Bits of word 3 and of word 2 of a record. */
const F = spec.FRCD.fields.F.mask;
const SID = spec.FRCD.fields.SID.mask;

/**
 * What became of a fault: `recorded`; `collapsed` into a pending record of the same source; `overflow`, no register was
 * free and PFO was set for it; `dropped`, PFO was set already.
 */
export type FaultOutcome = 'recorded' | 'collapsed' | 'overflow' | 'dropped';

/** Primary fault logging: the Fault Recording registers as a ring (VT-d 7.2, 11.4.7.6). */
export class FaultRecorder {
  readonly #registers: RegisterFile;
  readonly #status: FaultStatus;
  readonly #base: number;
  readonly #count: number;
  #next = 0;

  constructor(registers: RegisterFile, status: FaultStatus, capability: spec.Capability) {
    this.#registers = registers;
    this.#status = status;
    this.#base = capability.FRO * 16;
    this.#count = capability.NFR + 1;
  }

  /** Whether the register at `offset` holds the F field of a record. */
  holdsF(offset: number): boolean {
    const from = offset - this.#base;
    return from >= 0 && from < this.#count * spec.FRCD_BYTES && from % spec.FRCD_BYTES === 12;
  }

  /** Takes a fault. */
  record(fault: spec.FaultRecord): FaultOutcome {
    // VT-d 7.2.1: while PFO is set no fault is recorded.
    if (this.#status.has(spec.FSTS_PFO)) return 'dropped';
    if (this.#pendingFrom(fault.SID)) return 'collapsed';
    const index = this.#next;
    if (this.#occupied(index)) {
      this.#status.raise(spec.FSTS_PFO);
      return 'overflow';
    }
    this.#next = (index + 1) % this.#count;
    const offset = this.#offset(index);
    spec.encodeFaultRecord(fault).forEach((word, i) => this.#registers.set(offset + i * 4, word));
    if (!this.#status.has(spec.FSTS_PPF)) {
      this.#setIndex(index);
      this.#status.raise(spec.FSTS_PPF);
    }
    return 'recorded';
  }

  /** Software cleared an F field: PPF is the OR of all of them. */
  recordCleared(): void {
    for (let index = 0; index < this.#count; index++) if (this.#occupied(index)) return;
    this.#registers.clear(spec.FSTS_REG, spec.FSTS_PPF | spec.FSTS_FRI);
    this.#status.cleared();
  }

  /** The next fault goes to record 0 (VT-d 7.2.1: when DMA and interrupt remapping are both off). */
  restart(): void {
    this.#next = 0;
  }

  /** Takes the place in the ring from registers that were written from outside: behind the records that are pending. */
  resume(): void {
    const first = (this.#registers.get(spec.FSTS_REG) & spec.FSTS_FRI) >>> spec.FSTS_FRI_SHIFT;
    this.#next = first % this.#count;
    for (let seen = 0; seen < this.#count && this.#occupied(this.#next); seen++) {
      this.#next = (this.#next + 1) % this.#count;
    }
    const pending = this.#pendingFrom(undefined);
    if (pending) this.#registers.raise(spec.FSTS_REG, spec.FSTS_PPF);
    else this.#registers.clear(spec.FSTS_REG, spec.FSTS_PPF | spec.FSTS_FRI);
  }

  #offset(index: number): number {
    return this.#base + index * spec.FRCD_BYTES;
  }

  #occupied(index: number): boolean {
    return (this.#registers.get(this.#offset(index) + 12) & F) !== 0;
  }

  /** Whether a record of `sid`, or any record, is pending. VT-d 11.4.7.6: further faults of its source may be collapsed into it. */
  #pendingFrom(sid: number | undefined): boolean {
    for (let index = 0; index < this.#count; index++) {
      if (!this.#occupied(index)) continue;
      if (sid === undefined || (this.#registers.get(this.#offset(index) + 8) & SID) === sid) return true;
    }
    return false;
  }

  #setIndex(index: number): void {
    this.#registers.clear(spec.FSTS_REG, spec.FSTS_FRI);
    this.#registers.raise(spec.FSTS_REG, (index << spec.FSTS_FRI_SHIFT) & spec.FSTS_FRI);
  }
}
