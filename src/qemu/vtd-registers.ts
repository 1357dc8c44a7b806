/** The registers of QEMU's VT-d unit, for the guest driver that also drives our model. @module */
import { spec } from '../models/vtd/index.ts';
import type { QtestClient } from './qtest-client.ts';
import { QtestRegisters } from './qtest-registers.ts';

/** Where a q35 machine has the unit's registers. */
export const VTD_BASE: bigint = 0xfed9_0000n;
/** What of them a dump holds: all that the capabilities of QEMU's unit place. */
const DUMP_BYTES = 0x230;

/** The registers that the driver reads. */
export class QtestVtdRegisters extends QtestRegisters {
  private constructor(qtest: QtestClient) {
    super(qtest, {
      base: VTD_BASE,
      volatile: [
        [spec.GSTS_REG, 4],
        [spec.FSTS_REG, 4],
        [spec.IQH_REG, 8],
        [spec.IQERCD_REG, 8],
      ],
      stable: [
        [spec.VER_REG, 4],
        [spec.CAP_REG, 8],
        [spec.ECAP_REG, 8],
        [spec.RTADDR_REG, 8],
        [spec.IQA_REG, 8],
        [spec.IQT_REG, 8],
      ],
    });
  }

  static async of(qtest: QtestClient): Promise<QtestVtdRegisters> {
    const registers = new QtestVtdRegisters(qtest);
    await registers.settled();
    return registers;
  }

  /** Every register, as a dump that `VtdIommu.fromRegisters` takes. */
  dump(): Promise<Uint8Array> {
    return this.read(0, DUMP_BYTES);
  }
}
