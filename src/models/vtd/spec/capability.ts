/**
 * What a remapping unit can do, as one typed value (VT-d 11.4.2, 11.4.3). The registers that report it are in
 * capability-registers.ts.
 *
 * @module
 */

/** SAGAW: 39-bit addresses, 3-level second-stage tables. */
export const SAGAW_39 = 0b00010;
/** SAGAW: 48-bit addresses, 4-level second-stage tables. */
export const SAGAW_48 = 0b00100;
/** SAGAW: 57-bit addresses, 5-level second-stage tables. */
export const SAGAW_57 = 0b01000;
/** SSLPS: 2 MiB second-stage pages. */
export const SSLPS_2M = 0b0001;
/** SSLPS: 1 GiB second-stage pages. */
export const SSLPS_1G = 0b0010;

/**
 * The capabilities of a unit under the specification's names. Numbers are the raw field values unless said
 * otherwise; ADMS, RPS and the like are flags.
 */
export interface Capability {
  /** VER_REG: major version in bits 7:4, minor in bits 3:0. */
  readonly version: number;
  /** Number of domains: 2^(4 + 2*ND) domain identifiers, ND 0 to 6. */
  readonly ND: number;
  /** Required Write-Buffer Flushing. */
  readonly RWBF: boolean;
  /** Protected Low-Memory Region. */
  readonly PLMR: boolean;
  /** Protected High-Memory Region. */
  readonly PHMR: boolean;
  /** Caching Mode: not-present and erroneous entries may be cached, first-stage paging entries excepted (VT-d 6.1). */
  readonly CM: boolean;
  /** Supported Adjusted Guest Address Widths: SAGAW_39, SAGAW_48, SAGAW_57, combined. */
  readonly SAGAW: number;
  /** Maximum Guest Address Width in bits; the register holds one less. */
  readonly MGAW: number;
  /** Zero Length Read of write-only pages. */
  readonly ZLR: boolean;
  /** Fault-recording Register offset, in units of 16 bytes. */
  readonly FRO: number;
  /** Second Stage Large Page Support: SSLPS_2M, SSLPS_1G, combined. */
  readonly SSLPS: number;
  /** Page Selective Invalidation. */
  readonly PSI: boolean;
  /** Number of Fault-recording Registers, less one. */
  readonly NFR: number;
  /** Maximum Address Mask Value: log2 of the most pages that one page-selective invalidation names. */
  readonly MAMV: number;
  /** Write Draining. */
  readonly DWD: boolean;
  /** Read Draining. */
  readonly DRD: boolean;
  /** First Stage 1-GByte Page Support. */
  readonly FS1GP: boolean;
  /** Posted Interrupts Support. */
  readonly PI: boolean;
  /** First Stage 5-level Paging Support. */
  readonly FS5LP: boolean;
  /** Enhanced Set Interrupt Remap Table Pointer: SIRTP also invalidates. */
  readonly ESIRTPS: boolean;
  /** Enhanced Set Root Table Pointer: SRTP also invalidates every remapping cache. */
  readonly ESRTPS: boolean;
  /** Page-walk Coherency. */
  readonly C: boolean;
  /** Queued Invalidation support. */
  readonly QI: boolean;
  /** Device-TLB support. */
  readonly DT: boolean;
  /** Interrupt Remapping support. */
  readonly IR: boolean;
  /** Extended Interrupt Mode. */
  readonly EIM: boolean;
  /** Pass Through. */
  readonly PT: boolean;
  /** Snoop Control. */
  readonly SC: boolean;
  /** IOTLB Register Offset, in units of 16 bytes. */
  readonly IRO: number;
  /** Maximum Handle Mask Value. */
  readonly MHMV: number;
  /** Memory Type Support. */
  readonly MTS: boolean;
  /** Nested Translation Support. */
  readonly NEST: boolean;
  /** Page Request Support. */
  readonly PRS: boolean;
  /** Execute Request Support; retired in later revisions. */
  readonly ERS: boolean;
  /** Supervisor Request Support. */
  readonly SRS: boolean;
  /** No Write Flag Support. */
  readonly NWFS: boolean;
  /** Extended Accessed Flag Support. */
  readonly EAFS: boolean;
  /** PASID Size Supported in bits, less one. */
  readonly PSS: number;
  /** Process Address Space ID Support. */
  readonly PASID: boolean;
  /** Device-TLB Invalidation Throttle. */
  readonly DIT: boolean;
  /** Page-request Drain Support. */
  readonly PDS: boolean;
  /** Scalable Mode Translation Support. */
  readonly SMTS: boolean;
  /** Virtual Command Support. */
  readonly VCS: boolean;
  /** Second Stage Accessed/Dirty Support (formerly SLADS). */
  readonly SSADS: boolean;
  /** Second Stage Translation Support in scalable mode (formerly SLTS). */
  readonly SSTS: boolean;
  /** First Stage Translation Support in scalable mode (formerly FLTS). */
  readonly FSTS: boolean;
  /** Scalable-Mode Page-walk Coherency Support. */
  readonly SMPWCS: boolean;
  /** RID-PASID Support. */
  readonly RPS: boolean;
  /** Abort DMA Mode Support. */
  readonly ADMS: boolean;
  /** RID_PRIV Support. */
  readonly RPRIVS: boolean;
}

/**
 * A legacy-mode unit with caching mode, every second-stage page size, 48-bit addresses and no optional feature beyond
 * queued invalidation and pass-through: what a machine starts from.
 */
export const BASE_CAPABILITY: Capability = {
  version: 0x10,
  ND: 6,
  RWBF: false,
  PLMR: false,
  PHMR: false,
  CM: true,
  SAGAW: SAGAW_39 | SAGAW_48,
  MGAW: 48,
  ZLR: false,
  FRO: 0x22,
  SSLPS: SSLPS_2M | SSLPS_1G,
  PSI: true,
  NFR: 0,
  MAMV: 18,
  DWD: true,
  DRD: true,
  FS1GP: false,
  PI: false,
  FS5LP: false,
  ESIRTPS: false,
  ESRTPS: true,
  C: false,
  QI: true,
  DT: false,
  IR: false,
  EIM: false,
  PT: true,
  SC: false,
  IRO: 0x0f,
  MHMV: 0,
  MTS: false,
  NEST: false,
  PRS: false,
  ERS: false,
  SRS: false,
  NWFS: false,
  EAFS: false,
  PSS: 0,
  PASID: false,
  DIT: false,
  PDS: false,
  SMTS: false,
  VCS: false,
  SSADS: false,
  SSTS: false,
  FSTS: false,
  SMPWCS: false,
  RPS: false,
  ADMS: false,
  RPRIVS: false,
};

/** Levels of second-stage tables for an AW field value (0 to 7), or 0 when SAGAW does not offer it (VT-d 9.3). */
export function levelsOf(aw: number, sagaw: number): number {
  return aw >= 1 && aw <= 3 && (sagaw & (1 << aw)) !== 0 ? aw + 2 : 0;
}

/** Address bits that second-stage tables of `levels` levels translate: 39, 48 or 57. */
export function adjustedWidth(levels: number): number {
  return 12 + 9 * levels;
}

/** The largest AW field value that SAGAW offers; what a legacy pass-through context entry must hold. 0 for none. */
export function largestAddressWidth(sagaw: number): number {
  return (sagaw & SAGAW_57) !== 0 ? 3 : (sagaw & SAGAW_48) !== 0 ? 2 : (sagaw & SAGAW_39) !== 0 ? 1 : 0;
}
