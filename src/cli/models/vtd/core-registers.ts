/** The registers of a VT-d unit that an ELF core does not hold, made from what a person says about it. @module */
import { spec, type Words } from '../../../models/vtd/index.ts';

/** Enough for the widest register set that CAP_REG.FRO and ECAP_REG.IRO can describe. */
const DUMP_BYTES = 0x8000;

/**
 * A unit that accepts every structure the specification knows, so that no table is faulted for a feature that the
 * guest's own unit may have had. Two things depend on a width all the same: legacy pass-through entries must name the
 * widest one offered, and first-stage tables have four levels or five as their entry says.
 */
const PERMISSIVE: spec.Capability = {
  ...spec.BASE_CAPABILITY,
  SAGAW: spec.SAGAW_39 | spec.SAGAW_48 | spec.SAGAW_57,
  MGAW: 57,
  FS1GP: true,
  FS5LP: true,
  DT: true,
  SC: true,
  MTS: true,
  NEST: true,
  PRS: true,
  SRS: true,
  EAFS: true,
  PSS: 19,
  PASID: true,
  SMTS: true,
  SSADS: true,
  SSTS: true,
  FSTS: true,
  SMPWCS: true,
  RPS: true,
  ADMS: true,
  RPRIVS: true,
};

/** A register dump with translation on, `rtaddr` in RTADDR_REG, and the capabilities given or a unit that can do everything. */
export function coreRegisters(rtaddr: Words, cap: Words | undefined, ecap: Words | undefined): Uint8Array {
  const permissive = spec.encodeCapability(PERMISSIVE);
  const bytes = new Uint8Array(DUMP_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, { lo, hi }: Words): void => {
    view.setUint32(offset, lo, true);
    view.setUint32(offset + 4, hi, true);
  };
  view.setUint32(spec.VER_REG, PERMISSIVE.version, true);
  put(spec.CAP_REG, cap ?? permissive.cap);
  put(spec.ECAP_REG, ecap ?? permissive.ecap);
  put(spec.RTADDR_REG, rtaddr);
  view.setUint32(spec.GSTS_REG, (spec.GSTS_TES | spec.GSTS_RTPS) >>> 0, true);
  return bytes;
}
