import type { RegisterAccess } from '../../src/guests/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { type QtestClient, VTD_BASE } from '../../src/qemu/index.ts';

const FETCHED: readonly (readonly [offset: number, bytes: 4 | 8])[] = [
  [spec.VER_REG, 4],
  [spec.CAP_REG, 8],
  [spec.ECAP_REG, 8],
  [spec.GSTS_REG, 4],
  [spec.RTADDR_REG, 8],
  [spec.FSTS_REG, 4],
  [spec.IQA_REG, 8],
  [spec.IQT_REG, 8],
  [spec.IQH_REG, 8],
  [spec.IQERCD_REG, 8],
];

/**
 * The registers of QEMU's running VT-d unit for a driver that is timed: each operation of the driver is one write and
 * its answer. QEMU answers a write of the queue's tail when it has carried out the queue, so the head is known then.
 */
export class SynchronousRegisters implements RegisterAccess {
  readonly #qtest: QtestClient;
  readonly #known: Map<number, bigint> = new Map();
  #written: Promise<void> = Promise.resolve();

  private constructor(qtest: QtestClient) {
    this.#qtest = qtest;
  }

  static async of(qtest: QtestClient): Promise<SynchronousRegisters> {
    const registers = new SynchronousRegisters(qtest);
    for (const [offset, bytes] of FETCHED) {
      registers.#known.set(offset, await qtest.read(VTD_BASE + BigInt(offset), bytes));
    }
    return registers;
  }

  readRegister(offset: number, _bytes: 4 | 8): bigint {
    const value = this.#known.get(offset);
    if (value === undefined) throw new Error(`register 0x${offset.toString(16)} is not among those fetched`);
    return value;
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.#written = this.#write(offset, value, bytes);
    // Whoever waits hears of a failure; until then it must not count as unhandled.
    this.#written.catch(() => undefined);
  }

  /** Resolves when QEMU has carried out the last write, and so all before it. */
  settled(): Promise<void> {
    return this.#written;
  }

  async #write(offset: number, value: bigint, bytes: 4 | 8): Promise<void> {
    await this.#qtest.write(VTD_BASE + BigInt(offset), value, bytes);
    if (offset === spec.IQT_REG) this.#known.set(spec.IQH_REG, value);
  }
}
