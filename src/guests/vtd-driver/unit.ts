/** The registers of a remapping unit as a guest's driver works them (VT-d 11.4). @module */
import { spec } from '../../models/vtd/index.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';
import { DriverQueue } from '../driver/queue.ts';
import type { RegisterAccess, Settled } from '../driver/registers.ts';
import type { Completion } from '../driver/steps.ts';
import { InvalidationQueuePort } from './queue-port.ts';

/** What GSTS_REG and RTADDR_REG say of a unit. */
export interface UnitState {
  readonly translationEnabled: boolean;
  /** RTADDR_REG.TTM is scalable mode. */
  readonly scalable: boolean;
  /** Page of the root table. */
  readonly root: number;
}

/** Commands and their acknowledgement, capabilities, and the set-up of the queue. */
export class DriverUnit {
  readonly capability: spec.Capability;
  readonly queuePort: InvalidationQueuePort;
  readonly #registers: RegisterAccess;
  readonly #settled: Settled | undefined;

  constructor(registers: RegisterAccess, settled: Settled | undefined) {
    this.#registers = registers;
    this.#settled = settled;
    this.queuePort = new InvalidationQueuePort(registers);
    const wide = (offset: number): spec.Words => {
      const value = registers.readRegister(offset, 8);
      return { lo: Number(value & 0xffffffffn), hi: Number(value >> 32n) };
    };
    const version = Number(registers.readRegister(spec.VER_REG, 4));
    this.capability = spec.decodeCapability(version, wide(spec.CAP_REG), wide(spec.ECAP_REG));
    if (!this.capability.QI) {
      throw new GuestDriverError(
        'unsupported',
        'the unit has no queued invalidation (ECAP_REG.QI), which this driver needs; give the unit the capability QI',
      );
    }
  }

  /** @throws GuestDriverError `state` when no root table has been set, `unsupported` for a table mode of neither kind */
  state(): UnitState {
    const status = this.#status();
    if ((status & spec.GSTS_RTPS) === 0) {
      throw new GuestDriverError(
        'state',
        'the unit has no root table (GSTS_REG.RTPS is clear); boot the guest first',
      );
    }
    const rtaddr = this.#registers.readRegister(spec.RTADDR_REG, 8);
    const mode = (Number(rtaddr & 0xfffn) & spec.RTADDR_TTM) >>> spec.RTADDR_TTM_SHIFT;
    if (mode !== spec.TTM_LEGACY && mode !== spec.TTM_SCALABLE) {
      throw new GuestDriverError(
        'unsupported',
        `RTADDR_REG.TTM is ${mode}; this driver knows legacy (0) and scalable (1)`,
      );
    }
    return {
      translationEnabled: (status & spec.GSTS_TES) !== 0,
      scalable: mode === spec.TTM_SCALABLE,
      root: Number(rtaddr >> 12n),
    };
  }

  /** Whether the unit is as a reset leaves it: no queue, no translation. */
  fresh(): boolean {
    return (this.#status() & (spec.GSTS_TES | spec.GSTS_QIES)) === 0;
  }

  /** Turns translation on or off and completes when the unit acknowledges. */
  setTranslation(on: boolean): Completion {
    return this.#command(spec.GCMD_TE, on, 'GSTS_REG.TES');
  }

  /** Gives the unit the root table at page `root`. */
  setRootTable(root: number, scalable: boolean): Completion {
    const mode = BigInt((scalable ? spec.TTM_SCALABLE : spec.TTM_LEGACY) << spec.RTADDR_TTM_SHIFT);
    this.#registers.writeRegister(spec.RTADDR_REG, (BigInt(root) << 12n) | mode, 8);
    return this.#command(spec.GCMD_SRTP, true, 'GSTS_REG.RTPS');
  }

  /** A new queue of 256 descriptors, as Linux makes one, not enabled yet. */
  makeQueue(pages: DriverPages, scalable: boolean): DriverQueue {
    const count = scalable ? 2 : 1;
    const page = pages.allocate(count);
    this.#registers.writeRegister(spec.IQT_REG, 0n, 8);
    const size = Math.log2(count);
    const iqa = (BigInt(page) << 12n) | BigInt(size | (scalable ? spec.IQA_DW : 0));
    this.#registers.writeRegister(spec.IQA_REG, iqa, 8);
    return this.#queue(pages, page, count, scalable, 0);
  }

  /** Makes the unit fetch from the queue. */
  enableQueue(): Completion {
    return this.#command(spec.GCMD_QIE, true, 'GSTS_REG.QIES');
  }

  /** The queue that the unit fetches from now, to go on with at its tail; its pages are taken from the allocator. */
  adoptQueue(pages: DriverPages): DriverQueue {
    if ((this.#status() & spec.GSTS_QIES) === 0) {
      throw new GuestDriverError(
        'state',
        'the guest had queued invalidation off (GSTS_REG.QIES); boot the guest instead',
      );
    }
    const iqa = this.#registers.readRegister(spec.IQA_REG, 8);
    const low = Number(iqa & 0xfffn);
    const wide = (low & spec.IQA_DW) !== 0;
    const page = Number(iqa >> 12n);
    const count = 2 ** (low & spec.IQA_QS);
    pages.allocator.reserve({ start: page, end: page + count });
    const tail = Math.floor(Number(this.#registers.readRegister(spec.IQT_REG, 8)) / (wide ? 32 : 16));
    return this.#queue(pages, page, count, wide, tail);
  }

  /** `wide` is IQA_REG.DW: descriptors of 256 bits instead of 128. */
  #queue(pages: DriverPages, page: number, count: number, wide: boolean, tail: number): DriverQueue {
    const words = (wide ? 2 : 1) * spec.DESCRIPTOR_WORDS;
    return new DriverQueue(pages, this.queuePort, { page, pages: count, words, tail }, this.#settled);
  }

  #status(): number {
    return Number(this.#registers.readRegister(spec.GSTS_REG, 4));
  }

  /** Writes GCMD_REG with the commands in force and this one (VT-d 11.4.4.1: one command a write). */
  #command(command: number, on: boolean, acknowledgement: string): Completion {
    const inForce = this.#status() & spec.GCMD_STATE & ~command;
    this.#registers.writeRegister(spec.GCMD_REG, BigInt((inForce | (on ? command : 0)) >>> 0), 4);
    if (this.#acknowledged(command, on)) return;
    const stuck = (): GuestDriverError =>
      new GuestDriverError(
        'stuck',
        `the unit does not acknowledge a command: ${acknowledgement} did not change`,
      );
    const settled = this.#settled;
    if (settled === undefined) throw stuck();
    return (async () => {
      await settled();
      if (!this.#acknowledged(command, on)) throw stuck();
    })();
  }

  #acknowledged(command: number, on: boolean): boolean {
    return ((this.#status() & command) !== 0) === on;
  }
}
