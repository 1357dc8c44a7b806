import type { AddressSpace } from '../../../memory/index.ts';
import { capabilityOfDump, RegisterDumpError, VtdIommu } from '../../../models/vtd/index.ts';
import { UsageError } from '../../terminal/exit-codes.ts';
import type { RegisterValue } from '../core-model.ts';
import type { CaptureOpening, GuestModel } from '../guest-model.ts';
import type { OpenIommu } from '../open-iommu.ts';
import { fromRecordedRegisters } from '../recorded-registers.ts';
import { coreRegisters } from './core-registers.ts';
import { OpenVtd } from './vtd-unit.ts';

/** Registers up to the end of ECAP_REG: without them there is no saying what unit it is. */
const LEAST_REGISTER_BYTES = 0x18;
/** Most address bits that any structure has room for. */
const WIDEST_ADDRESSES = 52;
/** Address bits of a platform whose unit reports fewer for its devices. */
const USUAL_ADDRESSES = 48;

/** Intel VT-d. */
export const vtdModel: GuestModel = {
  names: ['vtd'],
  title: 'Intel VT-d',
  hasTables: true,
  hasPasids: true,
  openCapture,
  core: {
    registers: [
      {
        option: 'rtaddr',
        help: 'RTADDR_REG, translation table mode (bits 11:10) included',
        needed: 'what RTADDR_REG held',
      },
      { option: 'cap', help: 'CAP_REG (default: a unit that can do everything)', needed: undefined },
      { option: 'ecap', help: 'ECAP_REG (likewise)', needed: undefined },
    ],
    help:
      'VT-d: RTADDR_REG is at 0xfed90020, CAP_REG at 0xfed90008, ECAP_REG at 0xfed90010; legacy pass-through entries are only\n' +
      'right together with CAP_REG.',
    open: openCore,
  },
};

function openCapture({ capture, file, memory, final, ...options }: CaptureOpening): OpenIommu {
  return fromRecordedRegisters({ capture, file, final }, LEAST_REGISTER_BYTES, (bytes) => {
    // No register says how wide the platform's addresses are; what the unit gives its devices is at most that.
    const haw = Math.min(WIDEST_ADDRESSES, Math.max(USUAL_ADDRESSES, capabilityOfDump(bytes).MGAW));
    return new OpenVtd(VtdIommu.fromRegisters({ ...options, memory, bytes, haw }));
  });
}

function openCore(memory: AddressSpace, values: ReadonlyMap<string, RegisterValue>): OpenIommu {
  const bytes = coreRegisters(values.get('rtaddr') ?? ZERO, values.get('cap'), values.get('ecap'));
  try {
    const unit = { memory, bytes, haw: WIDEST_ADDRESSES, guestStopped: true, iotlb: false };
    return new OpenVtd(VtdIommu.fromRegisters(unit));
  } catch (error) {
    if (!(error instanceof RegisterDumpError)) throw error;
    throw new UsageError(`--cap and --ecap describe no usable unit (${error.message})`, 'check both values');
  }
}

const ZERO: RegisterValue = { lo: 0, hi: 0 };
