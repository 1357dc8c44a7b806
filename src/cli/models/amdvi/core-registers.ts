/** The registers of an AMD-Vi IOMMU that an ELF core does not hold, made from what a person says about it. @module */
import { spec } from '../../../models/amdvi/index.ts';
import type { RegisterValue } from '../core-model.ts';

/** Up to the end of the Extended Feature Register; what lies beyond is about commands and events. */
const DUMP_BYTES = 0x38;

/** Tables of as many levels as there are, and the features whose structures are understood. */
const PERMISSIVE: spec.Capability = { ...spec.BASE_CAPABILITY, PPRSup: true, GTSup: true };

/** A register dump with `devtab` in Device Table Base; without `control` the IOMMU is on, without `efr` it can do everything. */
export function coreRegisters(
  devtab: RegisterValue,
  control: RegisterValue | undefined,
  efr: RegisterValue | undefined,
): Uint8Array {
  const [lo, hi] = spec.encodeExtendedFeatures(PERMISSIVE);
  const bytes = new Uint8Array(DUMP_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: RegisterValue): void => {
    view.setUint32(offset, value.lo, true);
    view.setUint32(offset + 4, value.hi, true);
  };
  put(spec.DEVICE_TABLE_BASE, devtab);
  put(spec.CONTROL, control ?? { lo: spec.CONTROL_IommuEn, hi: 0 });
  put(spec.EXTENDED_FEATURE, efr ?? { lo, hi });
  return bytes;
}
