import type { AddressSpace } from '../../../memory/index.ts';
import { AmdviIommu } from '../../../models/amdvi/index.ts';
import type { RegisterValue } from '../core-model.ts';
import type { CaptureOpening, GuestModel } from '../guest-model.ts';
import type { OpenIommu } from '../open-iommu.ts';
import { fromRecordedRegisters } from '../recorded-registers.ts';
import { OpenAmdvi } from './amdvi-unit.ts';
import { coreRegisters } from './core-registers.ts';

/** Registers up to the end of Extended Feature: without them there is no saying what IOMMU it is. */
const LEAST_REGISTER_BYTES = 0x38;

/** AMD-Vi. */
export const amdviModel: GuestModel = {
  names: ['amdvi', 'amd'],
  title: 'AMD-Vi',
  hasTables: true,
  hasPasids: false,
  openCapture,
  core: {
    registers: [
      {
        option: 'devtab',
        help: 'Device Table Base, size (bits 8:0) included',
        needed: 'what Device Table Base held',
      },
      { option: 'control', help: 'Control (default: IommuEn set)', needed: undefined },
      {
        option: 'efr',
        help: 'Extended Feature (default: an IOMMU that can do everything)',
        needed: undefined,
      },
    ],
    help: 'AMD-Vi: Device Table Base is at 0xfed80000, Control at 0xfed80018, Extended Feature at 0xfed80030.',
    open: openCore,
  },
};

function openCapture({ capture, file, memory, final, ...options }: CaptureOpening): OpenIommu {
  return fromRecordedRegisters(
    { capture, file, final },
    LEAST_REGISTER_BYTES,
    (bytes) => new OpenAmdvi(AmdviIommu.fromRegisters({ ...options, memory, bytes })),
  );
}

function openCore(memory: AddressSpace, values: ReadonlyMap<string, RegisterValue>): OpenIommu {
  const bytes = coreRegisters(values.get('devtab') ?? ZERO, values.get('control'), values.get('efr'));
  return new OpenAmdvi(AmdviIommu.fromRegisters({ memory, bytes, guestStopped: true, iotlb: false }));
}

const ZERO: RegisterValue = { lo: 0, hi: 0 };
