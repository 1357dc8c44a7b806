/** The registers of QEMU's VT-d unit, for the guest driver that also drives our model. @module */
import type { RegisterAccess } from '../guests/index.ts';
import { spec } from '../models/vtd/index.ts';
import type { QtestClient } from './qtest-client.ts';

/** Where a q35 machine has the unit's registers. */
export const VTD_BASE: bigint = 0xfed9_0000n;
/** What of them a dump holds: all that the capabilities of QEMU's unit place. */
const DUMP_BYTES = 0x230;

type Register = readonly [offset: number, bytes: 4 | 8];

/** What a running unit may change, of that which the driver reads. */
const VOLATILE: readonly Register[] = [
  [spec.GSTS_REG, 4],
  [spec.FSTS_REG, 4],
  [spec.IQH_REG, 8],
];
const STATIC: readonly Register[] = [
  [spec.VER_REG, 4],
  [spec.CAP_REG, 8],
  [spec.ECAP_REG, 8],
  [spec.RTADDR_REG, 8],
  [spec.IQA_REG, 8],
  [spec.IQT_REG, 8],
  [spec.IQERCD_REG, 8],
];

/**
 * The driver reads registers synchronously, and QEMU answers over a pipe: so reads give what was last fetched, writes
 * are sent at once, and `settled`, for which the driver waits before it looks again, fetches anew. QEMU answers a write
 * only when it has carried out what the write sets off.
 */
export class QtestVtdRegisters implements RegisterAccess {
  readonly #qtest: QtestClient;
  readonly #known: Map<number, bigint> = new Map();
  #writes: Promise<void>[] = [];

  private constructor(qtest: QtestClient) {
    this.#qtest = qtest;
  }

  static async of(qtest: QtestClient): Promise<QtestVtdRegisters> {
    const registers = new QtestVtdRegisters(qtest);
    await registers.#fetch([...STATIC, ...VOLATILE]);
    return registers;
  }

  readRegister(offset: number, _bytes: 4 | 8): bigint {
    const value = this.#known.get(offset);
    if (value === undefined) throw new Error(`register 0x${offset.toString(16)} is not among those fetched`);
    return value;
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    const written = this.#qtest.write(VTD_BASE + BigInt(offset), value, bytes);
    // Whoever waits for the unit hears of a failure; until then it must not count as unhandled.
    written.catch(() => undefined);
    this.#writes.push(written);
  }

  /** Resolves when QEMU has carried out every write so far and what the driver reads is up to date. */
  async settled(): Promise<void> {
    const writes = this.#writes;
    this.#writes = [];
    await Promise.all([...writes, this.#fetch(VOLATILE)]);
  }

  /** Every register, as a dump that `VtdIommu.fromRegisters` takes. */
  async dump(): Promise<Uint8Array> {
    const words = Array.from({ length: DUMP_BYTES / 8 }, (_, i) =>
      this.#qtest.read(VTD_BASE + BigInt(i * 8), 8),
    );
    const dump = new DataView(new ArrayBuffer(DUMP_BYTES));
    for (const [i, word] of (await Promise.all(words)).entries()) dump.setBigUint64(i * 8, word, true);
    return new Uint8Array(dump.buffer);
  }

  async #fetch(registers: readonly Register[]): Promise<void> {
    await Promise.all(
      registers.map(async ([offset, bytes]) => {
        this.#known.set(offset, await this.#qtest.read(VTD_BASE + BigInt(offset), bytes));
      }),
    );
  }
}
