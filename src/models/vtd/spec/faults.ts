/**
 * Address translation faults: reason codes, the condition names of the specification, and whether software may
 * suppress them (VT-d 7.1.3).
 *
 * A *qualified* fault is not recorded when FPD is set in any of the context entry, PASID-directory entry and
 * PASID-table entry that the request has reached, present or not. Everything that goes wrong before FPD can be
 * trusted, above all a failing read of a table, is unqualified and always recorded.
 *
 * Conditions that differ only in detail share a code: LCT.4.0 to LCT.4.3 are all LCT_4.
 *
 * @module
 */

/** One fault reason. */
export interface FaultReason {
  /** The value of FRCD_REG.FR. */
  readonly code: number;
  /** The specification's name of the condition, without the sub-number. */
  readonly condition: string;
  /** One sentence for people. */
  readonly text: string;
  /** Whether FPD suppresses it. */
  readonly qualified: boolean;
}

/** Legacy mode, root table: unreadable, not present, reserved bit. */
export const LRT_1 = 0x08;
export const LRT_2 = 0x01;
export const LRT_3 = 0x0a;
/** Legacy mode, context table: unreadable, not present, reserved bit, invalid programming, request type blocked. */
export const LCT_1 = 0x09;
export const LCT_2 = 0x02;
export const LCT_3 = 0x0b;
export const LCT_4 = 0x03;
export const LCT_5 = 0x0d;
/** Legacy mode, second-stage entry (LSL in earlier revisions): unreadable below the top table, reserved bit. */
export const LSS_1 = 0x07;
export const LSS_2 = 0x0c;
/** Legacy mode, general: address too large, no write, no read, output in the interrupt range. */
export const LGN_1 = 0x04;
export const LGN_2 = 0x05;
export const LGN_3 = 0x06;
export const LGN_4 = 0x0e;
/** Root Table Address register: mode not usable, PASID or page request in legacy mode, abort-DMA mode. */
export const RTA_1 = 0x30;
export const RTA_2 = 0x31;
export const RTA_3 = 0x32;
export const RTA_4 = 0x33;
/** Scalable mode, root table: unreadable, not present, reserved bit. */
export const SRT_1 = 0x38;
export const SRT_2 = 0x39;
export const SRT_3 = 0x3a;
/** Scalable mode, context table. */
export const SCT_1 = 0x40;
export const SCT_2 = 0x41;
export const SCT_3 = 0x42;
export const SCT_4 = 0x43;
export const SCT_5 = 0x44;
export const SCT_6 = 0x45;
export const SCT_7 = 0x46;
export const SCT_8 = 0x47;
export const SCT_9 = 0x48;
/** Scalable mode, PASID directory: unreadable, not present, reserved bit. */
export const SPD_1 = 0x50;
export const SPD_2 = 0x51;
export const SPD_3 = 0x52;
/** Scalable mode, PASID table. */
export const SPT_1 = 0x58;
export const SPT_2 = 0x59;
export const SPT_3 = 0x5a;
export const SPT_4 = 0x5b;
export const SPT_5 = 0x5c;
export const SPT_6 = 0x5d;
/** Scalable mode, first stage (SFL in earlier revisions). */
export const SFS_1 = 0x70;
export const SFS_2 = 0x71;
export const SFS_3 = 0x72;
export const SFS_4 = 0x73;
export const SFS_5 = 0x74;
export const SFS_6 = 0x75;
export const SFS_7 = 0x76;
export const SFS_8 = 0x77;
export const SFS_9 = 0x90;
export const SFS_10 = 0x91;
/** Scalable mode, second stage (SSL in earlier revisions). */
export const SSS_1 = 0x78;
export const SSS_2 = 0x79;
export const SSS_3 = 0x7a;
export const SSS_4 = 0x7b;
export const SSS_5 = 0x7c;
export const SSS_6 = 0x7d;
/** Scalable mode, general. */
export const SGN_1 = 0x80;
export const SGN_2 = 0x81;
export const SGN_3 = 0x82;
export const SGN_4 = 0x83;
export const SGN_5 = 0x84;
export const SGN_6 = 0x85;
export const SGN_7 = 0x86;
export const SGN_8 = 0x87;

function always(code: number, condition: string, text: string): FaultReason {
  return { code, condition, text, qualified: false };
}

function unlessFpd(code: number, condition: string, text: string): FaultReason {
  return { code, condition, text, qualified: true };
}

/** Every reason that an untranslated memory request can meet, in the order of the conditions. */
export const FAULT_REASONS: readonly FaultReason[] = [
  always(LRT_1, 'LRT.1', 'The root entry could not be read.'),
  always(LRT_2, 'LRT.2', 'The root entry is not present.'),
  always(LRT_3, 'LRT.3', 'The root entry has a reserved bit set.'),
  always(LCT_1, 'LCT.1', 'The context entry could not be read.'),
  unlessFpd(LCT_2, 'LCT.2', 'The context entry is not present.'),
  unlessFpd(LCT_3, 'LCT.3', 'The context entry has a reserved bit set.'),
  unlessFpd(LCT_4, 'LCT.4', 'The context entry has an unusable AW, TT or SSPTPTR.'),
  unlessFpd(LCT_5, 'LCT.5', 'The context entry blocks this type of request.'),
  unlessFpd(LSS_1, 'LSS.1', 'A second-stage paging entry below the top table could not be read.'),
  unlessFpd(LSS_2, 'LSS.2', 'A present second-stage paging entry has a reserved bit set.'),
  unlessFpd(LGN_1, 'LGN.1', 'The address is beyond what the tables or the platform translate.'),
  unlessFpd(LGN_2, 'LGN.2', 'The tables do not permit writing.'),
  unlessFpd(LGN_3, 'LGN.3', 'The tables do not permit reading.'),
  unlessFpd(LGN_4, 'LGN.4', 'The address translates into the interrupt range 0xfee00000-0xfeefffff.'),
  always(RTA_1, 'RTA.1', 'RTADDR_REG holds a translation table mode that this unit cannot use.'),
  always(RTA_2, 'RTA.2', 'A request with PASID arrived in legacy mode.'),
  always(RTA_3, 'RTA.3', 'A page request arrived in legacy mode.'),
  always(RTA_4, 'RTA.4', 'Abort-DMA mode blocks every request.'),
  always(SRT_1, 'SRT.1', 'The scalable-mode root entry could not be read.'),
  always(SRT_2, 'SRT.2', 'This half of the scalable-mode root entry is not present.'),
  always(SRT_3, 'SRT.3', 'This half of the scalable-mode root entry has a reserved bit set.'),
  always(SCT_1, 'SCT.1', 'The scalable-mode context entry could not be read.'),
  unlessFpd(SCT_2, 'SCT.2', 'The scalable-mode context entry is not present.'),
  unlessFpd(SCT_3, 'SCT.3', 'The scalable-mode context entry has a reserved bit set.'),
  unlessFpd(SCT_4, 'SCT.4', 'The scalable-mode context entry is programmed inconsistently.'),
  unlessFpd(SCT_5, 'SCT.5', 'The scalable-mode context entry has DTE clear.'),
  unlessFpd(SCT_6, 'SCT.6', 'The scalable-mode context entry has PASIDE clear.'),
  unlessFpd(SCT_7, 'SCT.7', 'The PASID is beyond the directory that PDTS describes.'),
  unlessFpd(SCT_8, 'SCT.8', 'The scalable-mode context entry has PRE clear.'),
  unlessFpd(SCT_9, 'SCT.9', 'RID_PASID of the scalable-mode context entry is in error.'),
  always(SPD_1, 'SPD.1', 'The PASID-directory entry could not be read.'),
  unlessFpd(SPD_2, 'SPD.2', 'The PASID-directory entry is not present.'),
  unlessFpd(SPD_3, 'SPD.3', 'The PASID-directory entry has a reserved bit set.'),
  always(SPT_1, 'SPT.1', 'The PASID-table entry could not be read.'),
  unlessFpd(SPT_2, 'SPT.2', 'The PASID-table entry is not present.'),
  unlessFpd(SPT_3, 'SPT.3', 'The PASID-table entry has a reserved bit set.'),
  unlessFpd(SPT_4, 'SPT.4', 'The PASID-table entry has an unusable PGTT, AW or FSPM.'),
  unlessFpd(SPT_5, 'SPT.5', 'The PASID-table entry does not permit execute requests.'),
  unlessFpd(SPT_6, 'SPT.6', 'The PASID-table entry does not permit supervisor requests.'),
  unlessFpd(SFS_1, 'SFS.1', 'A first-stage paging entry below the top table could not be read.'),
  unlessFpd(SFS_2, 'SFS.2', 'A first-stage paging entry is not present.'),
  unlessFpd(SFS_3, 'SFS.3', 'A present first-stage paging entry has a reserved bit set.'),
  unlessFpd(SFS_4, 'SFS.4', 'The top first-stage table, named by FSPTPTR, could not be read.'),
  unlessFpd(
    SFS_5,
    'SFS.5',
    'Nested: a first-stage table address is beyond what the second stage translates.',
  ),
  unlessFpd(SFS_6, 'SFS.6', 'Nested: the second stage does not permit reading the top first-stage table.'),
  unlessFpd(SFS_7, 'SFS.7', 'Nested: the second stage does not permit reading a lower first-stage table.'),
  unlessFpd(
    SFS_8,
    'SFS.8',
    'Nested: the second stage does not permit writing the flags of a first-stage entry.',
  ),
  unlessFpd(SFS_9, 'SFS.9', 'A first-stage flag needs setting, but page walks are not coherent.'),
  unlessFpd(SFS_10, 'SFS.10', 'A first-stage flag could not be set.'),
  unlessFpd(SSS_1, 'SSS.1', 'A second-stage paging entry below the top table could not be read.'),
  unlessFpd(SSS_2, 'SSS.2', 'The second-stage entries permit neither reading nor writing.'),
  unlessFpd(SSS_3, 'SSS.3', 'A present second-stage paging entry has a reserved bit set.'),
  unlessFpd(SSS_4, 'SSS.4', 'The top second-stage table, named by SSPTPTR, could not be read.'),
  unlessFpd(SSS_5, 'SSS.5', 'A second-stage flag needs setting, but page walks are not coherent.'),
  unlessFpd(SSS_6, 'SSS.6', 'A second-stage flag could not be set.'),
  unlessFpd(SGN_1, 'SGN.1', 'The address is not canonical for the first-stage paging mode.'),
  unlessFpd(SGN_2, 'SGN.2', 'A user request met a supervisor page.'),
  unlessFpd(SGN_3, 'SGN.3', 'An execute request met a page that does not permit it.'),
  unlessFpd(SGN_4, 'SGN.4', 'The address is beyond what the platform addresses.'),
  unlessFpd(SGN_5, 'SGN.5', 'The second-stage input address is beyond what its tables translate.'),
  unlessFpd(SGN_6, 'SGN.6', 'The tables do not permit writing.'),
  unlessFpd(SGN_7, 'SGN.7', 'The tables do not permit reading.'),
  unlessFpd(SGN_8, 'SGN.8', 'The address translates into the interrupt range 0xfee00000-0xfeefffff.'),
];

const byCode: ReadonlyMap<number, FaultReason> = new Map(
  FAULT_REASONS.map((reason) => [reason.code, reason]),
);

/** What `code` (the value of FRCD_REG.FR) means, or undefined for a code that is not a memory request's. */
export function faultReason(code: number): FaultReason | undefined {
  return byCode.get(code);
}

/** Whether FPD suppresses the fault `code`; unknown codes are always recorded. */
export function isQualified(code: number): boolean {
  return byCode.get(code)?.qualified ?? false;
}
