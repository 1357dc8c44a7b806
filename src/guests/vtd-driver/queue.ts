/** The software side of the invalidation queue (VT-d 6.5.2): descriptors in guest memory, the tail register, waits. @module */
import { formatPage, PAGE_WORDS } from '../../memory/index.ts';
import { type Descriptor, silentWait, waitWithStatus } from './descriptors.ts';
import { VtdDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import { spec } from '../../models/vtd/index.ts';
import type { Completion } from './steps.ts';

/** How a driver reaches a remapping unit's registers. A `VtdIommu` is one. */
export interface RegisterAccess {
  /** The 32-bit or 64-bit register at byte `offset` of the register set. */
  readRegister(offset: number, bytes: 4 | 8): bigint;
  /** Writes it. What the write sets off may complete later. */
  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void;
}

/** Resolves, or returns, when the unit has done everything that it was told to. */
export type Settled = () => void | Promise<void>;

/** Where a queue lies. */
export interface QueuePlace {
  /** First page. */
  readonly page: number;
  readonly pages: number;
  /** IQA_REG.DW: descriptors of 256 bits instead of 128. */
  readonly wide: boolean;
  /** Slot at which the next descriptor is written. */
  readonly tail: number;
}

/** A queue that a driver fills. Descriptors are posted in the order of the calls. */
export class InvalidationQueue {
  readonly slots: number;
  readonly #pages: DriverPages;
  readonly #registers: RegisterAccess;
  readonly #settled: Settled | undefined;
  readonly #place: QueuePlace;
  readonly #words: number;
  /** Takes the status of waits, one word each in turn. */
  readonly #statusPage: number;
  #tail: number;
  /** The unit had fetched everything before this slot when it was last asked. */
  #head: number;
  #waits = 0;
  /** The last call that found the queue full; those after it take their turn behind it. */
  #turn: Promise<void> | undefined;

  constructor(
    pages: DriverPages,
    registers: RegisterAccess,
    place: QueuePlace,
    settled: Settled | undefined,
  ) {
    this.#pages = pages;
    this.#registers = registers;
    this.#settled = settled;
    this.#place = place;
    this.#words = (place.wide ? 2 : 1) * spec.DESCRIPTOR_WORDS;
    this.slots = (place.pages * PAGE_WORDS) / this.#words;
    this.#statusPage = pages.allocate();
    this.#tail = place.tail;
    this.#head = this.#fetched();
  }

  /** Writes one descriptor as it is, whatever it says, and moves the tail past it; nothing is waited for. */
  submit(descriptor: Descriptor): void {
    this.#write(descriptor);
    this.#ring();
  }

  /**
   * Posts descriptors and a wait, and completes when the wait's status has been written.
   *
   * @throws VtdDriverError `queue-error` when the unit stopped at a descriptor, `stuck` when the status never came
   */
  post(descriptors: readonly Descriptor[]): Completion {
    const needed = descriptors.length + 1;
    if (this.#turn === undefined && this.#hasRoom(needed)) return this.#post(descriptors);
    const settled = this.#settled;
    if (settled === undefined) throw this.#failure();
    const turn = (async () => {
      await this.#turn?.catch(() => undefined);
      await settled();
      if (!this.#hasRoom(needed)) throw this.#failure();
      await this.#post(descriptors);
    })();
    this.#turn = turn;
    const clear = (): void => {
      if (this.#turn === turn) this.#turn = undefined;
    };
    turn.then(clear, clear);
    return turn;
  }

  /**
   * After a queue error: puts a wait that tells nobody in the place of the descriptor at the head and clears
   * FSTS_REG.IQE, so that the unit goes on, as Linux does.
   */
  recover(): void {
    this.#head = this.#fetched();
    this.#store(this.#head, silentWait());
    this.#registers.writeRegister(spec.FSTS_REG, BigInt(spec.FSTS_IQE), 4);
  }

  #post(descriptors: readonly Descriptor[]): Completion {
    for (const descriptor of descriptors) this.#write(descriptor);
    // Every wait has a number of its own: a status left from an earlier use of the word is never taken for it.
    const status = ++this.#waits >>> 0;
    const word = status % PAGE_WORDS;
    this.#write(waitWithStatus(this.#statusPage, word, status));
    this.#ring();
    if (this.#reached(word, status)) return;
    const settled = this.#settled;
    if (settled === undefined) throw this.#failure();
    return (async () => {
      await settled();
      if (!this.#reached(word, status)) throw this.#failure();
    })();
  }

  #reached(word: number, status: number): boolean {
    const { words, base } = this.#pages.at(this.#statusPage);
    return ((words[base + word]! - status) | 0) >= 0;
  }

  #write(descriptor: Descriptor): void {
    this.#store(this.#tail, descriptor);
    this.#tail = (this.#tail + 1) % this.slots;
  }

  #store(slot: number, descriptor: Descriptor): void {
    const at = slot * this.#words;
    const { words, base } = this.#pages.at(this.#place.page + Math.floor(at / PAGE_WORDS));
    const first = base + (at % PAGE_WORDS);
    for (let i = 0; i < this.#words; i++) words[first + i] = descriptor[i] ?? 0;
  }

  #ring(): void {
    this.#registers.writeRegister(spec.IQT_REG, BigInt(this.#tail * this.#words * 4), 8);
  }

  /** One slot stays empty: a tail that has caught up with the head would say that there is nothing. */
  #hasRoom(slots: number): boolean {
    if (this.#free() >= slots) return true;
    this.#head = this.#fetched();
    return this.#free() >= slots;
  }

  #free(): number {
    return (this.#head - this.#tail - 1 + 2 * this.slots) % this.slots;
  }

  #fetched(): number {
    return Math.floor(Number(this.#registers.readRegister(spec.IQH_REG, 8)) / (this.#words * 4));
  }

  #failure(): VtdDriverError {
    const where = `invalidation queue at ${formatPage(this.#place.page)}, head ${this.#fetched()}, tail ${this.#tail}`;
    const status = Number(this.#registers.readRegister(spec.FSTS_REG, 4));
    if ((status & spec.FSTS_IQE) !== 0) {
      const why = Number(this.#registers.readRegister(spec.IQERCD_REG, 8)) & spec.IQERCD_IQEI;
      const remedy = 'call recover() to put a harmless descriptor in its place and go on';
      return new VtdDriverError(
        'queue-error',
        `the unit refused a descriptor (IQEI ${why}; ${where}); ${remedy}`,
      );
    }
    const remedy =
      this.#settled === undefined
        ? 'a unit that completes later needs the settled option, so that it can be waited for'
        : 'check that the unit has queued invalidation enabled and was not reset';
    return new VtdDriverError('stuck', `the unit did not complete an invalidation (${where}); ${remedy}`);
  }
}
