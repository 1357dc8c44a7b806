/**
 * What an IOMMU can do, as one typed value, and the registers that report it: the header of the capability block in the
 * PCI configuration space of the IOMMU (AMD-Vi 3.2.1) and the Extended Feature Register (MMIO offset 0030h).
 *
 * @module
 */

import { type Layout, layout, readField, writeField } from '../../layout.ts';

/** Header of the IOMMU's PCI capability block (AMD-Vi 3.2.1). */
export const CAPABILITY_HEADER: Layout<
  'CapId' | 'CapPtr' | 'CapType' | 'CapRev' | 'IotlbSup' | 'HtTunnel' | 'NpCache' | 'EFRSup' | 'CapExt'
> = layout(
  32,
  {
    CapId: [7, 0],
    CapPtr: [15, 8],
    CapType: [18, 16],
    CapRev: [23, 19],
    IotlbSup: [24, 24],
    HtTunnel: [25, 25],
    NpCache: [26, 26],
    EFRSup: [27, 27],
    CapExt: [28, 28],
  },
  [[31, 29]],
);
/** CapId of a secure device and CapType of an IOMMU. */
export const CAP_ID_SECURE_DEVICE = 0x0f;
export const CAP_TYPE_IOMMU = 0b011;

/** Extended Feature Register (MMIO offset 0030h): the fields that {@link Capability} has names for. */
export const EFR: Layout<
  | 'PreFSup'
  | 'PPRSup'
  | 'XTSup'
  | 'NXSup'
  | 'GTSup'
  | 'IASup'
  | 'GASup'
  | 'HESup'
  | 'PCSup'
  | 'HATS'
  | 'GATS'
  | 'GLXSup'
  | 'PASmax'
> = layout(64, {
  PreFSup: [0, 0],
  PPRSup: [1, 1],
  XTSup: [2, 2],
  NXSup: [3, 3],
  GTSup: [4, 4],
  IASup: [6, 6],
  GASup: [7, 7],
  HESup: [8, 8],
  PCSup: [9, 9],
  HATS: [11, 10],
  GATS: [13, 12],
  GLXSup: [15, 14],
  PASmax: [36, 32],
});

/**
 * The capabilities of an IOMMU under the specification's names; numbers are the raw field values. `NpCache`, `IotlbSup`
 * and `HtTunnel` are in the header of the PCI capability block, all others in the Extended Feature Register.
 */
export interface Capability {
  /** Not-present entries may be cached, so software invalidates when it makes a mapping too. */
  readonly NpCache: boolean;
  /** Remote IOTLBs, those of devices, are supported. */
  readonly IotlbSup: boolean;
  /** HyperTransport tunnel traffic is translated. */
  readonly HtTunnel: boolean;
  /** PREFETCH_IOMMU_PAGES is supported. */
  readonly PreFSup: boolean;
  /** Peripheral page requests are supported. */
  readonly PPRSup: boolean;
  /** x2APIC interrupts are supported. */
  readonly XTSup: boolean;
  /** No-execute protection is supported. */
  readonly NXSup: boolean;
  /** Guest translation is supported. */
  readonly GTSup: boolean;
  /** INVALIDATE_IOMMU_ALL is supported. */
  readonly IASup: boolean;
  /** The guest virtual APIC is supported. */
  readonly GASup: boolean;
  /** Hardware error registers are there. */
  readonly HESup: boolean;
  /** Performance counters are there. */
  readonly PCSup: boolean;
  /** Host address translation size: 0 for 4-level tables, 1 for 5, 2 for 6. */
  readonly HATS: number;
  /** Guest address translation size: 0 for 4-level tables, 1 for 5, 2 for 6. */
  readonly GATS: number;
  /** Levels of the guest CR3 table, less one. */
  readonly GLXSup: number;
  /** Bits of a PASID, less one. */
  readonly PASmax: number;
}

/**
 * Host tables of up to six levels, not-present entries cached, device IOTLBs, and no optional feature beyond
 * INVALIDATE_IOMMU_ALL and prefetching: what a machine starts from.
 */
export const BASE_CAPABILITY: Capability = {
  NpCache: true,
  IotlbSup: true,
  HtTunnel: false,
  PreFSup: true,
  PPRSup: false,
  XTSup: false,
  NXSup: false,
  GTSup: false,
  IASup: true,
  GASup: false,
  HESup: false,
  PCSup: false,
  HATS: 2,
  GATS: 0,
  GLXSup: 0,
  PASmax: 0,
};

const EFR_FLAGS = [
  'PreFSup',
  'PPRSup',
  'XTSup',
  'NXSup',
  'GTSup',
  'IASup',
  'GASup',
  'HESup',
  'PCSup',
] as const;
const EFR_NUMBERS = ['HATS', 'GATS', 'GLXSup', 'PASmax'] as const;

/** The words of the Extended Feature Register, bits 31:0 first, that report `capability`. */
export function encodeExtendedFeatures(capability: Capability): readonly [number, number] {
  const words: [number, number] = [0, 0];
  for (const name of EFR_FLAGS) writeField(words, EFR.fields[name], capability[name] ? 1 : 0);
  for (const name of EFR_NUMBERS) writeField(words, EFR.fields[name], capability[name]);
  return words;
}

/** The header of the PCI capability block that reports `capability`; CapPtr is 0, the last capability. */
export function encodeCapabilityHeader(capability: Capability): number {
  const words = [0];
  const { CapId, CapType, CapRev, IotlbSup, HtTunnel, NpCache, EFRSup } = CAPABILITY_HEADER.fields;
  writeField(words, CapId, CAP_ID_SECURE_DEVICE);
  writeField(words, CapType, CAP_TYPE_IOMMU);
  writeField(words, CapRev, 1);
  writeField(words, IotlbSup, capability.IotlbSup ? 1 : 0);
  writeField(words, HtTunnel, capability.HtTunnel ? 1 : 0);
  writeField(words, NpCache, capability.NpCache ? 1 : 0);
  writeField(words, EFRSup, 1);
  return words[0];
}

/** What a header of the PCI capability block and the words of the Extended Feature Register report. */
export function decodeCapability(header: number, efr: ArrayLike<number>): Capability {
  const { IotlbSup, HtTunnel, NpCache } = CAPABILITY_HEADER.fields;
  const decoded: Record<string, number | boolean> = {
    NpCache: (header & NpCache.mask) !== 0,
    IotlbSup: (header & IotlbSup.mask) !== 0,
    HtTunnel: (header & HtTunnel.mask) !== 0,
  };
  for (const name of EFR_FLAGS) decoded[name] = readField(efr, EFR.fields[name]) === 1;
  for (const name of EFR_NUMBERS) decoded[name] = readField(efr, EFR.fields[name]);
  return decoded as unknown as Capability;
}

/** Most levels of host tables that HATS allows: 4, 5 or 6; 0 for the reserved value. */
export function hostLevels(hats: number): number {
  return hats <= 2 ? 4 + hats : 0;
}
