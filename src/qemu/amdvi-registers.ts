/** The registers of QEMU's AMD-Vi unit, for the guest driver that also drives our model. @module */
import { requesterId, type RequesterId } from '../iommu/index.ts';
import { spec } from '../models/amdvi/index.ts';
import type { PciConfig } from './pci-config.ts';
import type { QtestClient } from './qtest-client.ts';
import { QtestRegisters } from './qtest-registers.ts';

/** Where a q35 machine has the unit's registers. They answer without set-up by firmware. */
export const AMDVI_BASE: bigint = 0xfed8_0000n;
/** The function that announces the unit. */
export const AMDVI_FUNCTION: RequesterId = requesterId(0, 1, 0);

/** Identifier of the capability block of an IOMMU (AMD-Vi 3.2). */
const CAPABILITY_SECURE_DEVICE = 0x0f;
/** The two ranges in which there are registers. */
const LOW_BYTES = spec.EXTENDED_FEATURE + 8;
const HIGH_START = spec.COMMAND_BUFFER_HEAD;
const HIGH_BYTES = spec.STATUS + 8 - HIGH_START;

/** The registers that the driver reads. */
export class QtestAmdviRegisters extends QtestRegisters {
  private constructor(qtest: QtestClient) {
    super(qtest, {
      base: AMDVI_BASE,
      volatile: [
        [spec.STATUS, 8],
        [spec.COMMAND_BUFFER_HEAD, 8],
        [spec.EVENT_LOG_TAIL, 8],
      ],
      stable: [
        [spec.DEVICE_TABLE_BASE, 8],
        [spec.COMMAND_BUFFER_BASE, 8],
        [spec.EVENT_LOG_BASE, 8],
        [spec.CONTROL, 8],
        [spec.EXTENDED_FEATURE, 8],
        [spec.COMMAND_BUFFER_TAIL, 8],
        [spec.EVENT_LOG_HEAD, 8],
      ],
    });
  }

  static async of(qtest: QtestClient): Promise<QtestAmdviRegisters> {
    const registers = new QtestAmdviRegisters(qtest);
    await registers.settled();
    return registers;
  }

  /** The registers up to Status, as a dump of the MMIO space holds them: zeros between the two ranges that are in use. */
  async dump(): Promise<Uint8Array> {
    const dump = new Uint8Array(HIGH_START + HIGH_BYTES);
    const [low, high] = await Promise.all([this.read(0, LOW_BYTES), this.read(HIGH_START, HIGH_BYTES)]);
    dump.set(low);
    dump.set(high, HIGH_START);
    return dump;
  }
}

/** The header of the unit's capability block, which says what the registers do not (AMD-Vi 3.2.1). */
export async function amdviCapabilityHeader(pci: PciConfig): Promise<number> {
  return pci.read(AMDVI_FUNCTION, await pci.capability(AMDVI_FUNCTION, CAPABILITY_SECURE_DEVICE));
}
