/** Registers of a unit of QEMU, for the guest drivers that also drive our models. @module */
import type { RegisterAccess } from '../guests/index.ts';
import type { QtestClient } from './qtest-client.ts';

/** A register: byte offset and width. */
export type QtestRegister = readonly [offset: number, bytes: 4 | 8];

/** Which registers a driver reads. */
export interface QtestRegisterSet {
  /** Guest-physical byte address of the registers. */
  readonly base: bigint;
  /** What a running unit may change. */
  readonly volatile: readonly QtestRegister[];
  /** What it does not: each of these is fetched once, and again when it has been written. */
  readonly stable: readonly QtestRegister[];
}

/**
 * A driver reads registers synchronously, and QEMU answers over a pipe: so reads give what was last fetched, writes are
 * sent at once, and `settled`, for which a driver waits before it looks again, fetches anew. QEMU answers a write only
 * when it has carried out what the write sets off.
 */
export class QtestRegisters implements RegisterAccess {
  readonly #qtest: QtestClient;
  readonly #set: QtestRegisterSet;
  readonly #known: Map<number, bigint> = new Map();
  readonly #stale: Set<QtestRegister>;
  #writes: Promise<void>[] = [];

  /** Nothing can be read before the first {@link settled}. */
  constructor(qtest: QtestClient, set: QtestRegisterSet) {
    this.#qtest = qtest;
    this.#set = set;
    this.#stale = new Set(set.stable);
  }

  readRegister(offset: number, _bytes: 4 | 8): bigint {
    const value = this.#known.get(offset);
    if (value === undefined) throw new Error(`register 0x${offset.toString(16)} is not among those fetched`);
    return value;
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    const written = this.#qtest.write(this.#set.base + BigInt(offset), value, bytes);
    // Whoever waits for the unit hears of a failure; until then it must not count as unhandled.
    written.catch(() => undefined);
    this.#writes.push(written);
    for (const register of this.#set.stable) if (register[0] === offset) this.#stale.add(register);
  }

  /** Resolves when QEMU has carried out every write so far and what the driver reads is up to date. */
  async settled(): Promise<void> {
    const writes = this.#writes;
    const wanted = [...this.#stale, ...this.#set.volatile];
    this.#writes = [];
    this.#stale.clear();
    await Promise.all([...writes, ...wanted.map((register) => this.#fetch(register))]);
  }

  /** `bytes` bytes at `offset`, both multiples of 8, as they are now. */
  async read(offset: number, bytes: number): Promise<Uint8Array> {
    const data = new DataView(new ArrayBuffer(bytes));
    const words = Array.from({ length: bytes / 8 }, (_, i) =>
      this.#qtest.read(this.#set.base + BigInt(offset + i * 8), 8),
    );
    for (const [i, word] of (await Promise.all(words)).entries()) data.setBigUint64(i * 8, word, true);
    return new Uint8Array(data.buffer);
  }

  async #fetch([offset, bytes]: QtestRegister): Promise<void> {
    this.#known.set(offset, await this.#qtest.read(this.#set.base + BigInt(offset), bytes));
  }
}
