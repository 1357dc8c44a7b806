/**
 * CAP_REG (VT-d 11.4.2) and ECAP_REG (VT-d 11.4.3): from capabilities to register words, and back.
 *
 * @module
 */

import type { Capability } from './capability.ts';
import type { Layout } from '../../layout.ts';
import { layout, readField, writeField } from '../../layout.ts';

/** CAP_REG. Bit 61 (ECMDS) reports a command interface that is not described here. */
export const CAP: Layout<
  | 'ND'
  | 'AFL'
  | 'RWBF'
  | 'PLMR'
  | 'PHMR'
  | 'CM'
  | 'SAGAW'
  | 'MGAW'
  | 'ZLR'
  | 'FRO'
  | 'SSLPS'
  | 'PSI'
  | 'NFR'
  | 'MAMV'
  | 'DWD'
  | 'DRD'
  | 'FS1GP'
  | 'PI'
  | 'FS5LP'
  | 'ECMDS'
  | 'ESIRTPS'
  | 'ESRTPS'
> = layout(
  64,
  {
    ND: [2, 0],
    AFL: [3, 3],
    RWBF: [4, 4],
    PLMR: [5, 5],
    PHMR: [6, 6],
    CM: [7, 7],
    SAGAW: [12, 8],
    MGAW: [21, 16],
    ZLR: [22, 22],
    FRO: [33, 24],
    SSLPS: [37, 34],
    PSI: [39, 39],
    NFR: [47, 40],
    MAMV: [53, 48],
    DWD: [54, 54],
    DRD: [55, 55],
    FS1GP: [56, 56],
    PI: [59, 59],
    FS5LP: [60, 60],
    ECMDS: [61, 61],
    ESIRTPS: [62, 62],
    ESRTPS: [63, 63],
  },
  [
    [15, 13],
    [23, 23],
    [38, 38],
    [58, 57],
  ],
);

/** ECAP_REG. Bit 24 once reported the retired extended mode (ECS) and reads as zero. */
export const ECAP: Layout<
  | 'C'
  | 'QI'
  | 'DT'
  | 'IR'
  | 'EIM'
  | 'PT'
  | 'SC'
  | 'IRO'
  | 'MHMV'
  | 'MTS'
  | 'NEST'
  | 'DIS'
  | 'PRS'
  | 'ERS'
  | 'SRS'
  | 'NWFS'
  | 'EAFS'
  | 'PSS'
  | 'PASID'
  | 'DIT'
  | 'PDS'
  | 'SMTS'
  | 'VCS'
  | 'SSADS'
  | 'SSTS'
  | 'FSTS'
  | 'SMPWCS'
  | 'RPS'
  | 'PMS'
  | 'ADMS'
  | 'RPRIVS'
  | 'SMS'
> = layout(
  64,
  {
    C: [0, 0],
    QI: [1, 1],
    DT: [2, 2],
    IR: [3, 3],
    EIM: [4, 4],
    PT: [6, 6],
    SC: [7, 7],
    IRO: [17, 8],
    MHMV: [23, 20],
    MTS: [25, 25],
    NEST: [26, 26],
    DIS: [27, 27],
    PRS: [29, 29],
    ERS: [30, 30],
    SRS: [31, 31],
    NWFS: [33, 33],
    EAFS: [34, 34],
    PSS: [39, 35],
    PASID: [40, 40],
    DIT: [41, 41],
    PDS: [42, 42],
    SMTS: [43, 43],
    VCS: [44, 44],
    SSADS: [45, 45],
    SSTS: [46, 46],
    FSTS: [47, 47],
    SMPWCS: [48, 48],
    RPS: [49, 49],
    PMS: [51, 51],
    ADMS: [52, 52],
    RPRIVS: [53, 53],
    SMS: [58, 58],
  },
  [
    [5, 5],
    [19, 18],
    [24, 24],
    [28, 28],
    [32, 32],
    [50, 50],
    [57, 54],
    [63, 59],
  ],
);

/** Both words of a 64-bit register, unsigned. */
export interface Words {
  /** Bits 31:0. */
  readonly lo: number;
  /** Bits 63:32. */
  readonly hi: number;
}

type Flag = { [K in keyof Capability]: Capability[K] extends boolean ? K : never }[keyof Capability];

const CAP_FLAGS = [
  'RWBF',
  'PLMR',
  'PHMR',
  'CM',
  'ZLR',
  'PSI',
  'DWD',
  'DRD',
  'FS1GP',
  'PI',
  'FS5LP',
  'ESIRTPS',
  'ESRTPS',
] as const satisfies readonly Flag[];
const CAP_NUMBERS = ['ND', 'SAGAW', 'FRO', 'SSLPS', 'NFR', 'MAMV'] as const;
const ECAP_FLAGS = [
  'C',
  'QI',
  'DT',
  'IR',
  'EIM',
  'PT',
  'SC',
  'MTS',
  'NEST',
  'PRS',
  'ERS',
  'SRS',
  'NWFS',
  'EAFS',
  'PASID',
  'DIT',
  'PDS',
  'SMTS',
  'VCS',
  'SSADS',
  'SSTS',
  'FSTS',
  'SMPWCS',
  'RPS',
  'ADMS',
  'RPRIVS',
] as const satisfies readonly Flag[];
const ECAP_NUMBERS = ['IRO', 'MHMV', 'PSS'] as const;

/** The words of CAP_REG and ECAP_REG that report `capability`. Fields that `Capability` has no name for are zero. */
export function encodeCapability(capability: Capability): { readonly cap: Words; readonly ecap: Words } {
  const cap = [0, 0];
  const ecap = [0, 0];
  for (const name of CAP_FLAGS) writeField(cap, CAP.fields[name], capability[name] ? 1 : 0);
  for (const name of CAP_NUMBERS) writeField(cap, CAP.fields[name], capability[name]);
  writeField(cap, CAP.fields.MGAW, capability.MGAW - 1);
  for (const name of ECAP_FLAGS) writeField(ecap, ECAP.fields[name], capability[name] ? 1 : 0);
  for (const name of ECAP_NUMBERS) writeField(ecap, ECAP.fields[name], capability[name]);
  return { cap: { lo: cap[0], hi: cap[1] }, ecap: { lo: ecap[0], hi: ecap[1] } };
}

/** The capabilities that a VER_REG value and the words of CAP_REG and ECAP_REG report. */
export function decodeCapability(version: number, cap: Words, ecap: Words): Capability {
  const capWords = [cap.lo, cap.hi];
  const ecapWords = [ecap.lo, ecap.hi];
  const decoded: Record<string, number | boolean> = {
    version,
    MGAW: readField(capWords, CAP.fields.MGAW) + 1,
  };
  for (const name of CAP_FLAGS) decoded[name] = readField(capWords, CAP.fields[name]) === 1;
  for (const name of CAP_NUMBERS) decoded[name] = readField(capWords, CAP.fields[name]);
  for (const name of ECAP_FLAGS) decoded[name] = readField(ecapWords, ECAP.fields[name]) === 1;
  for (const name of ECAP_NUMBERS) decoded[name] = readField(ecapWords, ECAP.fields[name]);
  return decoded as unknown as Capability;
}
