/** The software side of a queue in guest memory: entries, the tail register, waits that write a status. @module */
import { formatPage, PAGE_WORDS } from '../../memory/index.ts';
import { GuestDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import type { Settled } from './registers.ts';
import type { Completion } from './steps.ts';

/** The words of a queue's entry, low first; those left out are 0. */
export type QueueEntry = readonly number[];

/** Where a queue lies. */
export interface QueuePlace {
  /** First page. */
  readonly page: number;
  readonly pages: number;
  /** 32-bit words of an entry, a power of two. */
  readonly words: number;
  /** Slot at which the next entry is written. */
  readonly tail: number;
}

/** What a unit's queue is to a driver: registers and the entry that waits. */
export interface QueuePort {
  /** 32-bit words that the completion of a wait writes, 1 or 2. */
  readonly statusWords: 1 | 2;
  /** An entry whose completion writes `status` to word `word` of `page`, a 0 behind it where two words are written. */
  wait(page: number, word: number, status: number): QueueEntry;
  /** Byte offset in the queue of the entry that the unit fetches next. */
  head(): number;
  /** Tells the unit of entries up to the byte offset `tail`. */
  ring(tail: number): void;
  /** Why the unit stopped at an entry, as a sentence without its end; undefined when it did not. */
  refusal(): string | undefined;
  /** What to check when the unit does not complete anything, as an imperative. */
  readonly check: string;
}

/** A queue that a driver fills. Entries are posted in the order of the calls. */
export class DriverQueue {
  readonly slots: number;
  readonly #pages: DriverPages;
  readonly #port: QueuePort;
  readonly #settled: Settled | undefined;
  readonly #place: QueuePlace;
  /** Takes the statuses of waits, each in turn. */
  readonly #statusPage: number;
  #tail: number;
  /** The unit had fetched everything before this slot when it was last asked. */
  #head: number;
  #waits = 0;
  /** The last call that found the queue full; those after it take their turn behind it. */
  #turn: Promise<void> | undefined;

  constructor(pages: DriverPages, port: QueuePort, place: QueuePlace, settled: Settled | undefined) {
    this.#pages = pages;
    this.#port = port;
    this.#settled = settled;
    this.#place = place;
    this.slots = (place.pages * PAGE_WORDS) / place.words;
    this.#statusPage = pages.allocate();
    this.#tail = place.tail;
    this.#head = this.#fetched();
  }

  /** Writes one entry as it is, whatever it says, and moves the tail past it; nothing is waited for. */
  submit(entry: QueueEntry): void {
    this.#write(entry);
    this.#ring();
  }

  /**
   * Posts entries and a wait, and completes when the wait's status has been written.
   *
   * @throws GuestDriverError `queue-error` when the unit stopped at an entry, `stuck` when the status never came
   */
  post(entries: readonly QueueEntry[]): Completion {
    const needed = entries.length + 1;
    if (this.#turn === undefined && this.#hasRoom(needed)) return this.#post(entries);
    const settled = this.#settled;
    if (settled === undefined) throw this.#failure();
    const turn = (async () => {
      await this.#turn?.catch(() => undefined);
      await settled();
      if (!this.#hasRoom(needed)) throw this.#failure();
      await this.#post(entries);
    })();
    this.#turn = turn;
    const clear = (): void => {
      if (this.#turn === turn) this.#turn = undefined;
    };
    turn.then(clear, clear);
    return turn;
  }

  /** Puts `entry` in the place of the one that the unit fetches next. */
  replaceHead(entry: QueueEntry): void {
    this.#head = this.#fetched();
    this.#store(this.#head, entry);
  }

  /** Goes on at slot 0, where the unit has been told to fetch again; what it had not fetched is lost. */
  restart(): void {
    this.#tail = 0;
    this.#head = 0;
  }

  #post(entries: readonly QueueEntry[]): Completion {
    for (const entry of entries) this.#write(entry);
    // Every wait has a number of its own: a status left from an earlier use of the word is never taken for it.
    const status = ++this.#waits >>> 0;
    const { statusWords } = this.#port;
    const word = (status * statusWords) % PAGE_WORDS;
    this.#write(this.#port.wait(this.#statusPage, word, status));
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

  #write(entry: QueueEntry): void {
    this.#store(this.#tail, entry);
    this.#tail = (this.#tail + 1) % this.slots;
  }

  #store(slot: number, entry: QueueEntry): void {
    const count = this.#place.words;
    const at = slot * count;
    const { words, base } = this.#pages.at(this.#place.page + Math.floor(at / PAGE_WORDS));
    const first = base + (at % PAGE_WORDS);
    for (let i = 0; i < count; i++) words[first + i] = entry[i] ?? 0;
  }

  #ring(): void {
    this.#port.ring(this.#tail * this.#place.words * 4);
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
    return Math.floor(this.#port.head() / (this.#place.words * 4));
  }

  #failure(): GuestDriverError {
    const where = `queue at ${formatPage(this.#place.page)}, head ${this.#fetched()}, tail ${this.#tail}`;
    const refusal = this.#port.refusal();
    if (refusal !== undefined) {
      const remedy = 'call recover() to go on without it';
      return new GuestDriverError('queue-error', `${refusal} (${where}); ${remedy}`);
    }
    const remedy =
      this.#settled === undefined
        ? 'a unit that completes later needs the settled option, so that it can be waited for'
        : this.#port.check;
    return new GuestDriverError('stuck', `the unit did not complete what it was told (${where}); ${remedy}`);
  }
}
